"""Modules that know how their output is quantized."""

from typing import Any

import torch
from torch import Tensor, nn

from ..._dtypes import QDTYPES
from ..._qparams import QParams

State = dict[str, Any]


class OutputModule(nn.Module):
    """A module whose output has the parameters ``output_qparams``.

    They are saved as ``scale`` (float64) and ``zero_point`` (of the output's integer dtype), and
    ``quant_min`` and ``quant_max`` where these are not the dtype's own. What is loaded replaces
    them all.
    """

    output_qparams: QParams

    @property
    def scale(self) -> float:
        """The scale of the output."""
        return self.output_qparams.scale  # type: ignore[return-value]  # per tensor: a float

    @scale.setter
    def scale(self, scale: float) -> None:
        self.output_qparams = self.output_qparams.replace(scale=scale)

    @property
    def zero_point(self) -> int:
        """The zero point of the output."""
        return self.output_qparams.zero_point  # type: ignore[return-value]  # per tensor: an int

    @zero_point.setter
    def zero_point(self, zero_point: int) -> None:
        self.output_qparams = self.output_qparams.replace(zero_point=zero_point)

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
            "zero_point": torch.tensor(output.zero_point, dtype=output.dtype.storage),
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
                self.output_qparams = _loaded(self.output_qparams, **found)
            except ValueError as error:
                error_msgs.append(f"output parameters of {prefix.removesuffix('.')}: {error}")
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _has_own_range(output: QParams) -> bool:
    dtype = output.dtype
    return (output.quant_min, output.quant_max) != (dtype.quant_min, dtype.quant_max)


def _range_text(output: QParams) -> str:
    return f"quant_min={output.quant_min}, quant_max={output.quant_max}"


def _loaded(
    current: QParams,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: Tensor | None,
    quant_max: Tensor | None,
) -> QParams:
    storages = {dtype.storage: dtype for dtype in reversed(QDTYPES.values())}  # the first counts
    return QParams(
        float(scale),
        int(zero_point),
        storages.get(zero_point.dtype, current.dtype),
        None,
        None if quant_min is None else int(quant_min),  # type: ignore[arg-type]  # the dtype's
        None if quant_max is None else int(quant_max),  # type: ignore[arg-type]  # likewise
    )
