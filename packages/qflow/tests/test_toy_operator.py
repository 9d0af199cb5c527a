"""Adding an operator takes one row and one kernel module: every flow that exists covers it.

The toy multiplies each feature by a weight of its own. The first half of this file is all that its
author would write; the second quantizes a model with it through each flow.
"""

from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

import qbackends
import qflow
import qgraph
from qtensor import QParams, QTensor, qint8, quint8

# --- The kernel module -------------------------------------------------------------------------


class Scale(nn.Module):
    """The float operator: (…, features) times weight (features,)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class ReferenceScale(Scale):
    """In float, on a weight that takes int8 values."""

    @classmethod
    def from_float(cls, module: Scale, weight_qparams: dict[str, Any]) -> Self:
        scale = weight_qparams["scale"]  # one, or one per feature
        reference = cls((module.weight.detach() / scale).round().clamp(-128, 127) * scale)
        reference.register_buffer("weight_scale", scale)
        return reference


class QuantizedScale(nn.Module):
    """Integers in, integers out."""

    def __init__(self, weight: Tensor, weight_scale: Tensor, output: QParams) -> None:
        super().__init__()
        integers = (weight / weight_scale).round().clamp(-128, 127)
        self.register_buffer("qweight", integers.to(torch.int8))
        self.register_buffer("weight_scale", weight_scale)
        self.output = output

    @classmethod
    def from_reference(
        cls,
        reference: ReferenceScale,
        output_scale: float,
        output_zero_point: int,
        output_qparams: QParams | None = None,
    ) -> Self:
        output = output_qparams or QParams(float(output_scale), int(output_zero_point), quint8)
        return cls(reference.weight.detach(), reference.weight_scale, output)

    def forward(self, x: QTensor) -> QTensor:
        if not isinstance(x, QTensor):
            raise TypeError(f"Scale expects a quantized tensor, got {type(x).__name__}")
        product = (x.int_repr().int() - x.q_zero_point()) * self.qweight.int()
        out = self.output
        real = product * (x.q_scale() * self.weight_scale / out.scale)
        integers = (real.round() + out.zero_point).clamp(out.quant_min, out.quant_max)
        return QTensor(integers.to(out.dtype.storage), out)


class DynamicScale(nn.Module):
    """Floats in, floats out, int8 weight."""

    def __init__(self, weight: Tensor, weight_scale: Tensor) -> None:
        super().__init__()
        integers = (weight / weight_scale).round().clamp(-128, 127)
        self.register_buffer("qweight", integers.to(torch.int8))
        self.register_buffer("weight_scale", weight_scale)

    @classmethod
    def from_float(cls, module: Scale) -> Self:
        observer = module.qconfig.weight()
        observer(module.weight)
        scale, _ = observer.calculate_qparams()
        return cls(module.weight.detach(), scale)

    @classmethod
    def from_reference(cls, reference: ReferenceScale) -> Self:
        return cls(reference.weight.detach(), reference.weight_scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.qweight * self.weight_scale)


# --- The row -----------------------------------------------------------------------------------

ROW = (
    qgraph.BackendPatternConfig(Scale)
    .set_dtype_configs(
        [
            qgraph.DTypeConfig(quint8, quint8, qint8, torch.float),
            qgraph.DTypeConfig(quint8, torch.float, qint8, torch.float, is_dynamic=True),
        ]
    )
    .set_root_module(Scale)
    .set_reference_quantized_module(ReferenceScale)
    .set_quantized_module(QuantizedScale)
    .set_dynamic_module(DynamicScale)
)


# --- What every flow then does -----------------------------------------------------------------


@pytest.fixture
def backend() -> qgraph.BackendConfig:
    return qbackends.get_x86_backend_config().set_backend_pattern_config(ROW)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), Scale(torch.rand(8) + 0.5), nn.Linear(8, 4)).eval()


@pytest.fixture
def data() -> Tensor:
    return torch.rand(32, 6, generator=torch.Generator().manual_seed(1))


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual - expected).norm() < 0.05 * expected.norm())


def test_static_through_fx(backend: qgraph.BackendConfig, model: nn.Module, data: Tensor) -> None:
    mapping = qflow.get_default_qconfig_mapping("x86")
    prepared = qflow.prepare_fx(model, mapping, (data,), backend_config=backend)
    prepared(data)
    quantized = qflow.convert_fx(prepared, backend_config=backend)
    assert type(quantized.get_submodule("1")) is QuantizedScale
    assert close(quantized(data), model(data))


def test_dynamic_through_fx(backend: qgraph.BackendConfig, model: nn.Module, data: Tensor) -> None:
    mapping = qflow.QConfigMapping().set_global(qflow.default_dynamic_qconfig)
    prepared = qflow.prepare_fx(model, mapping, (data,), backend_config=backend)
    quantized = qflow.convert_fx(prepared, backend_config=backend)
    assert type(quantized.get_submodule("1")) is DynamicScale
    assert close(quantized(data), model(data))


def test_dynamic_by_swapping(backend: qgraph.BackendConfig, model: nn.Module, data: Tensor) -> None:
    mapping = qbackends.dynamic_module_mapping(backend)
    quantized = qflow.quantize_dynamic(model, {Scale}, mapping=mapping)
    assert type(quantized[0]) is nn.Linear and type(quantized[1]) is DynamicScale
    assert close(quantized(data), model(data))


@pytest.mark.parametrize("mode", ["static", "dynamic"])
def test_in_one_call(
    mode: str, backend: qgraph.BackendConfig, model: nn.Module, data: Tensor
) -> None:
    quantized, report = qflow.quantize_model(model, [data], backend, mode)
    assert close(quantized(data), model(data))
    assert report["1"].was == "Scale"
    assert report["1"].quantized and report["1"].sqnr > 25
