"""On a device without kernels the plain torch path gives what the kernels give on the CPU."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from .kernels import assert_same, tensors
from .operators import examples

# Sums of floats, whose order depends on the device.
CLOSE = {"linear_weight_only", "fake_quantize_learnable_backward"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_results_of_the_kernels():
    wrong = []
    for example in examples():
        there = tree_map_only(Tensor, lambda tensor: tensor.to("cuda"), example.arguments)
        expected = tensors(example.op(*example.arguments))
        try:
            for one, other in zip(tensors(example.op(*there)), expected, strict=True):
                assert one.is_cuda
                if example.operator in CLOSE:
                    torch.testing.assert_close(one.cpu(), other, rtol=1e-5, atol=1e-5)
                else:
                    assert one.stride() == other.stride()
                    assert_same(one.cpu(), other, strides=False)
        except Exception as error:
            wrong.append(f"{example}: {type(error).__name__} {error}")
    assert not wrong, "\n".join(wrong)
