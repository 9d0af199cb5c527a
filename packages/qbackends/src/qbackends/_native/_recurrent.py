"""Modules that are taken apart to be observed: recurrent layers and attention."""

from collections.abc import Iterator

from torch import nn

from qgraph import BackendPatternConfig
from qobserve.nn import quantizable
from qtensor.nn import quantized as nnq

from .. import _calls as calls
from ._rows import STATIC


def taken_apart() -> Iterator[BackendPatternConfig]:
    """``nn.LSTM`` and ``nn.MultiheadAttention``."""
    yield (
        BackendPatternConfig(nn.LSTM)
        .set_dtype_configs(STATIC)
        .set_observed_module(quantizable.LSTM)
        .set_quantized_module(nnq.LSTM)
        .set_refusal(calls.lstm_refusal)
    )
    yield (
        BackendPatternConfig(nn.MultiheadAttention)
        .set_dtype_configs(STATIC)
        .set_observed_module(quantizable.MultiheadAttention)
        .set_quantized_module(nnq.MultiheadAttention)
        .set_float_arguments(3, "key_padding_mask", 5, "attn_mask")
    )
