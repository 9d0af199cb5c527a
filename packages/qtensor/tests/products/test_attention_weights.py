"""Weights of attention against softmax in float64."""

import numpy as np
import pytest
import torch

from qtensor import _isa
from qtensor._ops.attention_weights import attention_weights

from ..every.kernels import assert_same, isa


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("columns", [1, 7, 8, 31, 32, 33, 64, 100, 5000])
@pytest.mark.parametrize("masked", [False, True])
def test_softmax_of_each_row(rng, columns, masked):
    scores = rng.integers(-50_000, 50_000, (2, 3, 5, columns), dtype=np.int32)
    scale, mask = 0.0001, np.zeros((2, 1, 5, columns), np.float32)
    if masked:
        mask += rng.normal(size=mask.shape).astype(np.float32)
        mask[rng.random(mask.shape) < 0.3] = -np.inf
        mask[..., -1] = 0
    arguments = torch.from_numpy(scores), scale, torch.from_numpy(mask) if masked else None
    steps, scales = attention_weights(*arguments)
    with isa("scalar"):
        assert_same(attention_weights(*arguments), (steps, scales))

    t = scores * scale + mask.astype(np.float64)
    exact = np.exp(t - t.max(-1, keepdims=True))
    assert np.abs(steps.numpy() - 255 * exact).max() <= 0.5 + 1e-3
    assert (steps.numpy().max(-1) == 255).all()
    torch.testing.assert_close((steps * scales).sum(-1), torch.ones(2, 3, 5))


def test_scores_and_masks_of_any_strides(rng):
    wide = torch.from_numpy(rng.integers(-50_000, 50_000, (2, 3, 10, 74), dtype=np.int32))
    floats = torch.from_numpy(rng.normal(size=(2, 3, 10, 74)).astype(np.float32))
    for part in (
        lambda x: x[..., ::2, ::2],
        lambda x: x[..., :5, :37],
        lambda x: x[..., :37].transpose(1, 2),
        lambda x: x.mT,
    ):
        scores, mask = part(wide), part(floats)
        for given in (None, mask, mask[:, :1], mask[..., :1], mask[0, 0, :1], mask[..., :1, :1]):
            dense = None if given is None else given.expand(scores.shape).contiguous()
            expected = attention_weights(scores.contiguous(), 0.0001, dense)
            for name in _isa.available():
                with isa(name):
                    assert_same(attention_weights(scores, 0.0001, given), expected)


def test_what_may_attend_to_nothing_gets_zeros():
    mask = torch.full((3, 40), -torch.inf)
    mask[1, 5] = 0
    steps, scales = attention_weights(torch.ones(3, 40, dtype=torch.int32), 1.0, mask)
    assert steps.sum(-1).tolist() == [0, 255, 0]
    assert scales.flatten().tolist() == pytest.approx([1, 1 / 255, 1])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_no_number_gets_zero(bad):
    mask = torch.zeros(40)
    mask[[3, 35]] = bad
    scores = torch.ones(1, 40, dtype=torch.int32)
    for name in _isa.available():
        with isa(name):
            steps, _ = attention_weights(scores, 1.0, mask)
        assert not steps[0, [3, 35]].any()


@pytest.mark.parametrize(
    ("scores", "scale", "mask", "error"),
    [
        (torch.ones(2, 3), 1.0, None, TypeError),
        (torch.ones(2, 3, dtype=torch.int32), 0.0, None, ValueError),
        (torch.ones(2, 0, dtype=torch.int32), 1.0, None, ValueError),
        (torch.ones(2, 3, dtype=torch.int32), 1.0, torch.zeros(2, 4), ValueError),
        (torch.ones(2, 3, dtype=torch.int32), 1.0, torch.zeros(2, 3).bool(), TypeError),
    ],
)
def test_bad_input(scores, scale, mask, error):
    with pytest.raises(error, match="expected"):
        attention_weights(scores, scale, mask)
