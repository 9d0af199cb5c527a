"""The LSTM and its cell, taken apart."""

from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtensor import QTensor, quantize_per_tensor, quint8
from qtensor.nn.quantized import FloatFunctional
from qtensor.nn.quantized.structure import LSTMBase, LSTMCellBase, State

from ._observed import observed, qconfig_of


class LSTMCell(LSTMCellBase):
    """One step of an LSTM, every operator of it a module that can be observed.

    Computes what :class:`torch.nn.LSTMCell` does, also on quantized tensors once its parts are
    quantized.

    Args:
        input_dim, hidden_dim: the sizes of input and hidden values.
        bias: whether there are biases.
        device, dtype: of the parameters.
        split_gates: compute each gate by itself, from a part of the weights: more products, but
            each gate gets quantization parameters of its own.

    Attributes:
        initial_hidden_state_qparams, initial_cell_state_qparams, hidden_state_dtype,
            cell_state_dtype: how the zeros before the first step are quantized, for quantized
            inputs: scale and zero point, 1 and 0 by default, and dtype, ``quint8``.

    Shape:
        Input ``(N, input_dim)``, both states ``(N, hidden_dim)``.

    Example:
        >>> import torch
        >>> from qobserve.nn.quantizable import LSTMCell
        >>> h, c = LSTMCell(4, 8)(torch.randn(2, 4))
        >>> h.shape
        torch.Size([2, 8])
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.LSTMCell

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        split_gates: bool = False,
    ) -> None:
        super().__init__(input_dim, hidden_dim, bias, device, dtype, split_gates=split_gates)
        self.initial_hidden_state_qparams: tuple[float, int] = (1.0, 0)
        self.initial_cell_state_qparams: tuple[float, int] = (1.0, 0)
        self.hidden_state_dtype: Any = quint8
        self.cell_state_dtype: Any = quint8

    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> nn.Module:
        return nn.Linear(inputs, outputs, bias=bias, **factory)

    def _functional(self) -> FloatFunctional:
        return FloatFunctional()

    def _zero_state(self, batch: int, like: Tensor) -> State:
        if isinstance(like, QTensor):
            return self.initialize_hidden(batch, is_quantized=True)
        zeros = torch.zeros(batch, self.hidden_size, dtype=like.dtype, device=like.device)
        return zeros, zeros

    def initialize_hidden(self, batch_size: int, is_quantized: bool = False) -> State:
        """The state before the first step: zeros, ``(batch_size, hidden_dim)`` each.

        Args:
            batch_size: the number of sequences.
            is_quantized: quantize them, as the attributes say.
        """
        zeros = torch.zeros(batch_size, self.hidden_size)
        if not is_quantized:
            return zeros, zeros
        return (
            quantize_per_tensor(zeros, *self.initial_hidden_state_qparams, self.hidden_state_dtype),
            quantize_per_tensor(zeros, *self.initial_cell_state_qparams, self.cell_state_dtype),
        )

    @classmethod
    def from_params(
        cls,
        wi: Tensor,
        wh: Tensor,
        bi: Tensor | None = None,
        bh: Tensor | None = None,
        split_gates: bool = False,
    ) -> Self:
        """A cell with these weights.

        Args:
            wi, wh: ``(4 * hidden_dim, input_dim)`` and ``(4 * hidden_dim, hidden_dim)``, the gates
                in the order input, forget, cell, output.
            bi, bh: ``(4 * hidden_dim,)``, or both ``None``.
            split_gates: as in the constructor.

        Raises:
            ValueError: one bias without the other.
        """
        if (bi is None) != (bh is None):
            raise ValueError("expected both biases, or neither")
        made = cls(wi.shape[1], wh.shape[1], bi is not None, split_gates=split_gates)
        made._take(wi, wh, bi, bh)
        return made

    def _take(self, wi: Tensor, wh: Tensor, bi: Tensor | None, bh: Tensor | None) -> None:
        for layers, weight, bias in ((self.igates, wi, bi), (self.hgates, wh, bh)):
            parts = list(layers.values()) if self.split_gates else [layers]
            for name, given in (("weight", weight), ("bias", bias)):
                if given is None:
                    continue
                for part, rows in zip(parts, given.detach().chunk(len(parts)), strict=True):
                    setattr(part, name, nn.Parameter(rows.clone(), given.requires_grad))

    @classmethod
    def from_float(
        cls,
        other: nn.Module,
        use_precomputed_fake_quant: bool = False,
        split_gates: bool = False,
    ) -> Self:
        """From a :class:`torch.nn.LSTMCell` with a qconfig; ``prepare`` then observes its parts.

        Args:
            other: the cell; its parameters are copied.
            use_precomputed_fake_quant: not used.
            split_gates: as in the constructor.

        Raises:
            TypeError: ``other`` is no such cell.
            ValueError: it has no qconfig.
        """
        qconfig = qconfig_of(other, cls._FLOAT_MODULE)
        cell: Any = other
        made = cls.from_params(
            cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh, split_gates
        )
        made.qconfig = qconfig
        return made.train(other.training)

    def _get_name(self) -> str:
        return "QuantizableLSTMCell"


class LSTM(LSTMBase):
    """An LSTM, every operator of it a module that can be observed.

    Computes what :class:`torch.nn.LSTM` does. :meth:`from_float` makes an observed one, which is
    calibrated and then becomes a ``qtensor.nn.quantized.LSTM``. The flows of qflow do both for
    every :class:`torch.nn.LSTM` with a qconfig.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device,
            dtype: as in :class:`torch.nn.LSTM`.
        split_gates: as in :class:`LSTMCell`.

    Shape:
        As :class:`torch.nn.LSTM`.

    Raises:
        ValueError: ``dropout`` is not within 0 … 1.

    Warns:
        UserWarning: dropout between layers, of which there is only one.

    Example:
        >>> import torch
        >>> from qobserve import default_qconfig
        >>> from qobserve.nn.quantizable import LSTM
        >>> from qtensor import quantize_per_tensor, quint8
        >>> from qtensor.nn import quantized as nnq
        >>> model, x = torch.nn.LSTM(4, 8).eval(), torch.randn(5, 2, 4)
        >>> model.qconfig = default_qconfig
        >>> observed = LSTM.from_float(model)
        >>> _ = observed(x)  # calibrate
        >>> quantized = nnq.LSTM.from_observed(observed)
        >>> y, (h, c) = quantized(quantize_per_tensor(x, 0.05, 64, quint8))
        >>> y.shape, c.shape
        (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]))
    """

    _CELL = LSTMCell
    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.LSTM

    observes_itself: ClassVar[bool] = True
    """Observers are on its parts, so ``prepare`` puts none on its output."""

    def _between(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    @classmethod
    def from_float(cls, other: nn.Module, qconfig: Any = None, split_gates: bool = False) -> Self:
        """An observed LSTM from a float one; one in training mode is prepared to train.

        Args:
            other: a :class:`torch.nn.LSTM`, with a qconfig unless one is given; its parameters
                are copied.
            qconfig: how to observe, if ``other`` does not say.
            split_gates: as in :class:`LSTMCell`.

        Raises:
            TypeError: ``other`` is no such module.
            ValueError: there is no qconfig, or ``other`` projects its hidden values.
        """
        if qconfig is not None and getattr(other, "qconfig", None) is None:
            other.qconfig = qconfig
        qconfig = qconfig_of(other, cls._FLOAT_MODULE)
        lstm: Any = other
        if lstm.proj_size:
            raise ValueError(
                f"expected an LSTM without projections, got proj_size={lstm.proj_size}; leave its "
                "qconfig None to keep it float"
            )
        made = cls(
            lstm.input_size,
            lstm.hidden_size,
            lstm.num_layers,
            lstm.bias,
            lstm.batch_first,
            0.0,  # it may warn, as it did for ``other``
            lstm.bidirectional,
            split_gates=split_gates,
        )
        made.dropout = lstm.dropout
        made.qconfig = qconfig
        for cell, suffix in zip(made._cells(), _suffixes(lstm), strict=True):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            cell._take(*(getattr(lstm, f"{name}_{suffix}", None) for name in names))
        observed(made, other.training)
        return made

    def _cells(self) -> Iterable[Any]:
        return (module for module in self.modules() if isinstance(module, LSTMCell))

    @classmethod
    def from_observed(cls, other: nn.Module) -> NoReturn:
        """Not possible: this class is what is observed.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "an observed LSTM becomes a qtensor.nn.quantized.LSTM; call its from_observed"
        )

    def _get_name(self) -> str:
        return "QuantizableLSTM"


def _suffixes(lstm: Any) -> Iterable[str]:
    """How torch calls the weights of each direction of each layer."""
    for layer in range(lstm.num_layers):
        yield f"l{layer}"
        if lstm.bidirectional:
            yield f"l{layer}_reverse"
