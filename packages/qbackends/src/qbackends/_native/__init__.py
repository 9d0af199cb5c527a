"""The native table: what qtensor's kernels compute, one row per operator.

Everything there is to say about an operator stands in its row, and nowhere else. Eager's module
mappings, the graph passes, the support matrix and the other backends all derive from here. A
module of this package holds the rows of one family.
"""

from qgraph import BackendConfig

from ._activations import activations
from ._arithmetic import arithmetic
from ._conv import batch_norms, convolutions
from ._linear import embedding, linear
from ._recurrent import taken_apart
from ._sharing import moving_values, pooling


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
    return BackendConfig("native").set_backend_pattern_configs(rows)
