"""The cache of packed weights: never stale, never shared by accident, gone with its weight."""

import copy
import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from qtensor import _packing
from qtensor._ops.linear import linear_int32
from qtensor._packing import PackedWeights, shared_cache

from .common import exact_sums

INPUT = torch.arange(8, dtype=torch.uint8).view(1, 8)


def weight_of(value):
    return torch.full((3, 8), value, dtype=torch.int8)


def check(weight, cache, zero_points=None):
    result = linear_int32(INPUT, 0, weight, zero_points, cache=cache)
    np.testing.assert_array_equal(result.numpy(), exact_sums(INPUT, 0, weight, zero_points))


@pytest.mark.parametrize("shared", [False, True])
def test_changes_are_noticed(shared):
    cache = None if shared else PackedWeights()
    weight = weight_of(1)
    check(weight, cache)
    weight.add_(1)
    check(weight, cache)
    weight[2, 3] = 7
    check(weight, cache)
    weight.data = weight_of(9)
    check(weight, cache)
    check(weight_of(-5), cache)


def test_changed_zero_points_are_noticed():
    cache, weight, zero_points = PackedWeights(), weight_of(1), torch.ones(3, dtype=torch.int64)
    check(weight, cache)
    check(weight, cache, zero_points)
    zero_points.add_(1)
    check(weight, cache, zero_points)
    check(weight, cache)


def test_inference_tensors_have_no_version():
    with torch.inference_mode():
        weight = weight_of(3)
        check(weight, PackedWeights())
        check(weight, None)


def test_packed_once_until_cleared():
    cache, weight = PackedWeights(), weight_of(1)
    first = cache.forms(weight, None).get(127, weight, None)
    assert cache.forms(weight, None).get(127, weight, None) is first
    assert cache.forms(weight, None).get(255, weight, None) is not first
    assert cache.forms(weight, None).get(127, weight, None) is first
    assert first.nbytes >= 64 * 2
    cache.clear()
    assert cache.forms(weight, None).get(127, weight, None) is not first


def test_clear_serves_changes_that_torch_does_not_see():
    cache, weight = PackedWeights(), weight_of(1)
    check(weight, cache)
    weight.numpy()[:] = 5
    cache.clear()
    check(weight, cache)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])  # fmt: skip  # noqa: E501
def test_copies_are_empty(duplicate):
    cache, weight = PackedWeights(), weight_of(1)
    first = cache.forms(weight, None).get(127, weight, None)
    other = duplicate(cache)
    assert type(other) is PackedWeights
    assert other.forms(weight, None).get(127, weight, None) is not first


def test_the_shared_cache_dies_with_its_weight():
    gc.collect()  # what other tests left
    before = len(_packing._shared)
    weight = weight_of(1)
    check(weight, None)
    assert shared_cache(weight) is shared_cache(weight)
    assert len(_packing._shared) == before + 1
    gone = weakref.ref(weight)
    del weight
    gc.collect()
    assert gone() is None
    assert len(_packing._shared) == before


def test_a_cache_does_not_keep_the_weight_alive():
    cache, weight = PackedWeights(), weight_of(1)
    check(weight, cache)
    gone = weakref.ref(weight)
    del weight
    gc.collect()
    assert gone() is None


def test_one_packing_for_many_threads():
    cache, weight = PackedWeights(), torch.ones(512, 512, dtype=torch.int8)
    with ThreadPoolExecutor(8) as pool:
        packed = set(
            pool.map(lambda _: cache.forms(weight, None).get(127, weight, None), range(64))
        )
    assert len(packed) == 1
