"""One row and one kernel module add an operator: fusing, planning and lowering follow from them."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from qbackends import get_x86_backend_config, static_module_mapping, support_matrix
from qgraph import BackendPatternConfig, DTypeConfig, convert, prepare
from qobserve import QConfigMapping, get_default_qconfig
from qtensor import QParams, QTensor, quint8


class Negate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -x


class QuantizedNegate(nn.Module):
    def __init__(self, output: QParams) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: QTensor) -> QTensor:
        real = -(x.int_repr().int() - x.q_zero_point()) * (x.q_scale() / self.output.scale)
        integers = (real.round() + self.output.zero_point).clamp(0, 255)
        return QTensor(integers.to(torch.uint8), self.output)

    @classmethod
    def from_reference(
        cls, module: nn.Module, scale: float, zero_point: int, *, output_qparams: Any = None
    ) -> Self:
        return cls(output_qparams or QParams(scale, zero_point, quint8))


ROW = (
    BackendPatternConfig(Negate)
    .add_dtype_config(DTypeConfig(quint8, quint8))
    .set_quantized_module(QuantizedNegate)
)


def test_the_operator_is_quantized_and_documented() -> None:
    backend = get_x86_backend_config().set_backend_pattern_config(ROW)
    model, x = nn.Sequential(nn.Linear(4, 4), Negate(), nn.ReLU()).eval(), torch.randn(32, 4)
    mapping = QConfigMapping().set_global(get_default_qconfig("x86"))
    prepared = prepare(model, mapping, (x,), backend_config=backend)
    prepared(x)
    quantized = convert(prepared)
    assert type(quantized.get_submodule("1")) is QuantizedNegate
    assert (quantized(x) - model(x)).norm() < 0.05 * model(x).norm()
    assert static_module_mapping(backend)[Negate] is QuantizedNegate
    assert any(row[0].endswith("Negate") for row in support_matrix(backend))
