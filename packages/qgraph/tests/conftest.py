"""A small backend and a qconfig, so that passes are tested without qbackends."""

import operator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from qgraph import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    ObservationType,
)
from qobserve import MinMaxObserver, QConfig, default_per_channel_weight_observer
from qtensor import QParams, QTensor, ops, qint8, quint8
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

ACTIVATIONS = DTypeConfig(quint8, quint8)
STATIC = DTypeConfig(quint8, quint8, qint8, torch.float32)
DYNAMIC = DTypeConfig(quint8, torch.float32, qint8, torch.float32, is_dynamic=True)


def _linear_from_call(input: None, weight: nn.Parameter, bias: nn.Parameter) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = weight, bias
    return linear


def _fold(is_qat: bool, conv: nn.Conv2d, bn: nn.BatchNorm2d) -> nn.Module:
    return fuse_conv_bn_eval(conv, bn)


def _relu_from_call(input: None, inplace: bool = False) -> nn.ReLU:
    return nn.ReLU()


def _refuse_alpha(module: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    return "alpha is not supported" if kwargs else None


def _add(a: QTensor, b: QTensor, *, output: QParams) -> QTensor:
    return ops.add_to(a, b, output)


def _add_relu(a: QTensor, b: QTensor, *, output: QParams) -> QTensor:
    return ops.add_to(a, b, output, 0.0)


def float_add_relu(a: Tensor, b: Tensor) -> Tensor:
    return torch.relu(a + b)


def sharing(pattern: Any, *spellings: Any) -> BackendPatternConfig:
    return (
        BackendPatternConfig(pattern)
        .set_spellings(*spellings)
        .set_observation_type(ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT)
        .add_dtype_config(ACTIVATIONS)
    )


def weighted(pattern: Any, reference: Any, quantized: Any) -> BackendPatternConfig:
    return (
        BackendPatternConfig(pattern)
        .set_dtype_configs([STATIC])
        .set_reference_quantized_module(reference)
        .set_quantized_module(quantized)
    )


@pytest.fixture
def backend() -> BackendConfig:
    """Linear, conv2d, add, relu, flatten, cat and embedding, with a few fusions."""
    linear, conv = nnq.reference.Linear, nnq.reference.Conv2d
    rows = [
        weighted(nn.Linear, linear, nnq.Linear)
        .set_spellings(F.linear)
        .set_module_from_call(_linear_from_call)
        .add_dtype_config(DYNAMIC)
        .set_dynamic_module(nnq.dynamic.Linear),
        weighted((nn.Linear, nn.ReLU), linear, nni.quantized.LinearReLU).set_fused_module(
            nni.LinearReLU
        ),
        weighted(nn.Conv2d, conv, nnq.Conv2d).set_input_ranks(4),
        BackendPatternConfig((nn.Conv2d, nn.BatchNorm2d)).set_fuser_method(_fold),
        weighted((nn.Conv2d, operator.add), conv, nni.quantized.ConvAdd2d).set_fused_module(
            nni.ConvAdd2d
        ),
        weighted(
            (nn.Conv2d, operator.add, nn.ReLU), conv, nni.quantized.ConvAddReLU2d
        ).set_fused_module(nni.ConvAddReLU2d),
        BackendPatternConfig(operator.add)
        .set_spellings(torch.add, "add")
        .add_dtype_config(ACTIVATIONS)
        .set_num_tensor_args_to_observation_type(
            {2: ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT}
        )
        .set_refusal(_refuse_alpha)
        .set_quantized_function(_add),
        BackendPatternConfig((operator.add, nn.ReLU))
        .set_fused_function(float_add_relu)
        .add_dtype_config(ACTIVATIONS)
        .set_quantized_function(_add_relu),
        sharing(nn.ReLU, F.relu, torch.relu, "relu").set_module_from_call(_relu_from_call),
        sharing(torch.flatten, nn.Flatten, "flatten"),
        sharing(torch.chunk, "chunk"),
        sharing(operator.getitem),
        sharing(torch.cat),
        BackendPatternConfig(nn.Embedding)
        .set_observation_type(ObservationType.INPUT_OUTPUT_NOT_OBSERVED)
        .add_dtype_config(DTypeConfig(torch.float32, torch.float32, quint8))
        .set_reference_quantized_module(nnq.reference.Embedding)
        .set_weight_only_module(nnq.Embedding),
    ]
    return BackendConfig("test").set_backend_pattern_configs(rows)


@pytest.fixture
def qconfig() -> QConfig:
    return QConfig(MinMaxObserver, default_per_channel_weight_observer)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
