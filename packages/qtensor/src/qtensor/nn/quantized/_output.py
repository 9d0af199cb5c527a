"""Modules that know how their output is quantized."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..._dtypes import QDTYPES, qint8, quint8
from ..._qparams import QParams
from ..._qtensor import QTensor

State = dict[str, Any]


class OutputModule(nn.Module):
    """A module whose output has the parameters ``output_qparams``.

    They are saved as ``scale`` (float64) and ``zero_point`` (of the output's integer dtype), and
    ``quant_min`` and ``quant_max`` where these are not the dtype's own. What is loaded replaces
    them all.

    Where only the ``scale`` and the ``zero_point`` were ever given, a dtype was not: some modules
    then have that of their input, in its full range, and save the zero point as int64.
    """

    output_qparams: QParams
    # Where output_qparams are but two numbers: what these are in each dtype, by its name.
    _in_dtypes: Mapping[str, QParams] = {}

    def _set_numbers(self, scale: float | Tensor, zero_point: float | Tensor) -> None:
        fitting = [d for d in (quint8, qint8) if d.quant_min <= int(zero_point) <= d.quant_max]
        known = [QParams(scale, zero_point, dtype) for dtype in fitting or [quint8]]  # type: ignore[arg-type]  # it is checked to be whole
        self._in_dtypes = {qparams.dtype.name: qparams for qparams in known}
        self.output_qparams = known[0]

    def _are_numbers(self) -> bool:
        output = self.output_qparams
        return self._in_dtypes.get(output.dtype.name) is output

    def _set_output(
        self, qparams: QParams | None, scale: float | Tensor = 1.0, zero_point: int | Tensor = 0
    ) -> None:
        """Sets ``output_qparams``, or if they are not known the two numbers."""
        if qparams is None:
            self._set_numbers(scale, zero_point)
        else:
            self.output_qparams = qparams

    def _output_for(self, input: Any) -> QParams:
        """``output_qparams``, in the dtype of ``input`` where they have none of their own."""
        if not isinstance(input, QTensor) or not self._are_numbers():
            return self.output_qparams
        name, output = input._format[0], self.output_qparams
        if name in self._in_dtypes:
            return self._in_dtypes[name]
        return QParams(output.scale, output.zero_point, QDTYPES[name])  # which says why not

    def _replace(self, **changes: float) -> None:
        if self._are_numbers():
            self._set_numbers(**{"scale": self.scale, "zero_point": self.zero_point, **changes})
        else:
            self.output_qparams = self.output_qparams.replace(**changes)

    @property
    def scale(self) -> float:
        """The scale of the output."""
        return self.output_qparams.scale  # type: ignore[return-value]  # per tensor: a float

    @scale.setter
    def scale(self, scale: float) -> None:
        self._replace(scale=scale)

    @property
    def zero_point(self) -> int:
        """The zero point of the output."""
        return self.output_qparams.zero_point  # type: ignore[return-value]  # per tensor: an int

    @zero_point.setter
    def zero_point(self, zero_point: int) -> None:
        self._replace(zero_point=zero_point)

    def extra_repr(self) -> str:
        """``scale=…, zero_point=…``, and the range where it is not the dtype's own."""
        output = self.output_qparams
        text = f"scale={output.scale}, zero_point={output.zero_point}"
        return text + (f", {_range_text(output)}" if _has_own_range(output) else "")

    def _save_to_state_dict(self, destination: State, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        output = self.output_qparams
        saved = {
            "scale": torch.tensor(output.scale, dtype=torch.float64),
            "zero_point": torch.tensor(
                output.zero_point,
                dtype=torch.int64 if self._are_numbers() else output.dtype.storage,
            ),
        }
        if _has_own_range(output):
            saved["quant_min"] = torch.tensor(output.quant_min)
            saved["quant_max"] = torch.tensor(output.quant_max)
        destination.update((prefix + name, value) for name, value in saved.items())

    def _load_from_state_dict(
        self,
        state_dict: State,
        prefix: str,
        local_metadata: State,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        state_dict = dict(state_dict)
        names = ("scale", "zero_point", "quant_min", "quant_max")
        found = {name: state_dict.pop(prefix + name, None) for name in names}
        absent = [prefix + name for name in names[:2] if found[name] is None]
        missing_keys.extend(absent)
        if not absent:
            try:
                self._load_output(**found)
            except ValueError as error:
                error_msgs.append(f"output parameters of {prefix.removesuffix('.')}: {error}")
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def _load_output(
        self,
        scale: Tensor,
        zero_point: Tensor,
        quant_min: Tensor | None,
        quant_max: Tensor | None,
    ) -> None:
        dtype = _DTYPES.get(zero_point.dtype)
        if dtype is None and quant_min is None and self._are_numbers():
            self._set_numbers(float(scale), int(zero_point))
            return
        self.output_qparams = QParams(
            float(scale),
            int(zero_point),
            dtype or self.output_qparams.dtype,
            None,
            None if quant_min is None else int(quant_min),  # type: ignore[arg-type]  # the dtype's
            None if quant_max is None else int(quant_max),  # type: ignore[arg-type]  # likewise
        )


_DTYPES = {dtype.storage: dtype for dtype in reversed(QDTYPES.values())}  # the first counts


def _has_own_range(output: QParams) -> bool:
    dtype = output.dtype
    return (output.quant_min, output.quant_max) != (dtype.quant_min, dtype.quant_max)


def _range_text(output: QParams) -> str:
    return f"quant_min={output.quant_min}, quant_max={output.quant_max}"
