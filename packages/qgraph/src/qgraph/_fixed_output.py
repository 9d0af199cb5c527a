"""What stands for an observer where the range of an output is known beforehand."""

from collections.abc import Callable
from typing import Any

from torch import nn

from qobserve import FixedQParamsFakeQuantize, FixedQParamsObserver

from ._backend_config import BackendPatternConfig
from ._observer_spec import ObserverSpec


def fixed_output(
    row: BackendPatternConfig, like: ObserverSpec, is_qat: bool
) -> Callable[[], nn.Module] | None:
    """What makes the observer of an operator's output, if its range is known beforehand.

    Args:
        row: of the operator.
        like: an observer of the same dtype and integers, such as that of the input.
        is_qat: whether the model is to be trained, so that the parameters are faked too.

    Returns:
        ``None`` where the range is not known, or nothing is to be quantized.

    Example:
        >>> from qgraph import BackendPatternConfig, ObserverSpec
        >>> from qobserve import MinMaxObserver
        >>> row = BackendPatternConfig(nn.Sigmoid).set_fixed_range(0.0, 1.0)
        >>> like = ObserverSpec.of(MinMaxObserver)
        >>> fixed_output(row, like, is_qat=False)().scale
        tensor([0.0039])
    """
    if row.fixed_range is None or like.quant_min is None or like.quant_max is None:
        return None
    qparams: Any = row.fixed_qparams(like.dtype, like.quant_min, like.quant_max)
    observer = FixedQParamsObserver.with_args(
        scale=qparams.scale,
        zero_point=qparams.zero_point,
        dtype=qparams.dtype,
        quant_min=qparams.quant_min,
        quant_max=qparams.quant_max,
    )
    return FixedQParamsFakeQuantize.with_args(observer=observer) if is_qat else observer
