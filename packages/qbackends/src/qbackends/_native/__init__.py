"""The native table: what qtensor's kernels compute, one row per operator.

Everything there is to say about an operator stands in its row, and nowhere else. Eager's module
mappings, the graph passes, the support matrix and the other backends all derive from here. A
module of this package holds the rows of one family.
"""

from typing import Any

from torch import nn

from qgraph import BackendConfig
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni

from ._activations import activations
from ._arithmetic import arithmetic
from ._conv import batch_norms, convolutions
from ._linear import embedding, linear
from ._recurrent import taken_apart
from ._sharing import moving_values, pooling

# What stands in for a float module in quantization-aware training. A sequence without one is not
# fused then; its parts are trained, and computed, one by one.
_TRAINED: dict[Any, type[nn.Module]] = {
    nn.Linear: nnqat.Linear,
    nn.Conv1d: nnqat.Conv1d,
    nn.Conv2d: nnqat.Conv2d,
    nn.Conv3d: nnqat.Conv3d,
    nn.Embedding: nnqat.Embedding,
    nn.EmbeddingBag: nnqat.EmbeddingBag,
    nni.LinearReLU: nniqat.LinearReLU,
    nni.LinearBn1d: nniqat.LinearBn1d,
    nni.ConvReLU1d: nniqat.ConvReLU1d,
    nni.ConvReLU2d: nniqat.ConvReLU2d,
    nni.ConvReLU3d: nniqat.ConvReLU3d,
    nni.ConvBn1d: nniqat.ConvBn1d,
    nni.ConvBn2d: nniqat.ConvBn2d,
    nni.ConvBn3d: nniqat.ConvBn3d,
    nni.ConvBnReLU1d: nniqat.ConvBnReLU1d,
    nni.ConvBnReLU2d: nniqat.ConvBnReLU2d,
    nni.ConvBnReLU3d: nniqat.ConvBnReLU3d,
}


def get_native_backend_config() -> BackendConfig:
    """Everything that qtensor's kernels compute, with 8-bit activations of either sign.

    Returns:
        a new config on each call, so that changing it changes nothing else.

    Example:
        >>> from torch import nn
        >>> rows = {row.pattern: row for row in get_native_backend_config().configs}
        >>> rows[nn.Linear].quantized_module.__name__
        'Linear'
    """
    rows = [
        *linear(),
        *convolutions(),
        *batch_norms(),
        *embedding(),
        *arithmetic(),
        *activations(),
        *pooling(),
        *moving_values(),
        *taken_apart(),
    ]
    for row in rows:
        trained = _TRAINED.get(row.fused_module or row.pattern)
        if trained is not None:
            row.set_qat_module(trained)
    return BackendConfig("native").set_backend_pattern_configs(rows)
