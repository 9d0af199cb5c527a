"""The shapes of blocks with parameters of their own."""

import pytest
import torch

from qobserve import (
    AffineQuantizedObserverBase,
    Granularity,
    MappingType,
    PerAxis,
    PerBlock,
    PerGroup,
    PerRow,
    PerTensor,
    PerToken,
    get_block_size,
)


@pytest.mark.parametrize(
    ("granularity", "wanted"),
    [
        (PerTensor(), (2, 3, 4)),
        (PerAxis(0), (1, 3, 4)),
        (PerAxis(-1), (2, 3, 1)),
        (PerRow(), (1, 1, 4)),
        (PerRow(dim=0), (2, 1, 1)),
        (PerToken(), (1, 1, 4)),
        (PerBlock((1, 3, 2)), (1, 3, 2)),
    ],
    ids=str,
)
def test_block_sizes(granularity, wanted):
    assert get_block_size((2, 3, 4), granularity) == wanted


def test_groups_divide_the_rows_of_a_matrix():
    assert get_block_size((8, 16), PerGroup(4)) == (1, 4)
    with pytest.raises(ValueError, match="needs a matrix"):
        get_block_size((2, 3, 4), PerGroup(4))


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"PerAxis\(axis=3\) needs such an axis"):
        get_block_size((2, 3, 4), PerAxis(3))
    for wrong in (PerTensor, Granularity(), 3):
        with pytest.raises(TypeError, match="expected an instance"):
            get_block_size((2, 3), wrong)


class Blockwise(AffineQuantizedObserverBase):
    def forward(self, input):
        self.block_size = get_block_size(tuple(input.shape), self.granularity)
        self.original_dtype = input.dtype
        return input

    def calculate_qparams(self):
        return torch.ones(1), torch.zeros(1)


def test_a_subclass_knows_its_blocks():
    make = Blockwise.with_args(mapping_type=MappingType.SYMMETRIC, target_dtype=torch.int8)
    observer = make(granularity=PerAxis(1))
    observer(torch.ones(2, 3))
    assert (observer.block_size, observer.original_dtype) == ((2, 1), torch.float32)
    with pytest.raises(TypeError, match="Granularity"):
        make(granularity=PerAxis)
