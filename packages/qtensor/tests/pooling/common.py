"""Ways for images to lie in memory."""

from collections.abc import Callable

from hypothesis import strategies as st
from torch import Tensor

from ..elementwise.common import layouts

MOST_DIMS = 5


@st.composite
def stridings(draw: st.DrawFn) -> Callable[[Tensor], Tensor]:
    """Functions that lay a tensor out in any order of its dimensions, with gaps between neighbours
    and some dimensions expanded, so that its values differ, and with no memory behind its last
    element."""
    order = draw(st.permutations(range(MOST_DIMS)))
    gaps = draw(st.lists(st.integers(0, 2), min_size=MOST_DIMS, max_size=MOST_DIMS))
    expanded = draw(
        st.lists(st.sampled_from([False] * 5 + [True]), min_size=MOST_DIMS, max_size=MOST_DIMS)
    )
    step = draw(st.sampled_from([1, 1, 2, 3]))

    def laid_out(tensor: Tensor) -> Tensor:
        strides, next_stride = [0] * tensor.ndim, step
        for dim in order:
            if dim < tensor.ndim and not expanded[dim]:
                strides[dim] = next_stride
                next_stride = next_stride * max(1, tensor.shape[dim]) + gaps[dim]
        reach = sum((n - 1) * stride for n, stride in zip(tensor.shape, strides, strict=True))
        length = reach + 1 if tensor.numel() else 0
        memory = tensor.flatten().repeat(-(-length // max(1, tensor.numel())))[:length]
        return memory.clone().as_strided(tensor.shape, strides)

    return laid_out


any_layouts = layouts | stridings()
