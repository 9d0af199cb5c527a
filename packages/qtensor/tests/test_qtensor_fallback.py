"""Operators without an integer kernel: computed in float, and said so, once for each line."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import qtensor


@pytest.fixture
def q():
    return qtensor.quantize_per_tensor(torch.linspace(-1, 1, 8), 0.01, 128, qtensor.quint8)


def test_it_computes_in_float_and_warns_once_per_line(q):
    def twice():
        return [torch.tan(q) for _ in range(2)]

    with pytest.warns(qtensor.FallbackWarning, match=r"tan .*test_qtensor_fallback\.py") as caught:
        first, second = twice()
    assert len(caught) == 1
    assert torch.equal(first, torch.tan(q.dequantize())) and torch.equal(first, second)
    assert "return [torch.tan(q)" in str(caught[0].message)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twice()


def test_another_line_and_another_operator_warn_again(q):
    with pytest.warns(qtensor.FallbackWarning) as caught:
        torch.tan(q)
        torch.tan(q), torch.atan(q)
    assert len(caught) == 3


def test_modules_of_torch_are_reported_where_they_are_called(q):
    with pytest.warns(qtensor.FallbackWarning, match="log_softmax") as caught:
        torch.nn.LogSoftmax(0)(q)
    assert caught[0].filename == __file__


def test_error_mode(q):
    with qtensor.fallback("error"), pytest.raises(NotImplementedError, match="log_softmax"):
        F.log_softmax(q, 0)


def test_silent_mode_and_nesting(q):
    with qtensor.fallback("silent"):
        assert torch.equal(q + 1, q.dequantize() + 1)
        with qtensor.fallback("error"), pytest.raises(NotImplementedError):
            q + 1
        assert torch.equal(q + 1, q.dequantize() + 1)


def test_unknown_mode():
    with pytest.raises(ValueError, match="'warn', 'error', 'silent', got 'loud'"):
        qtensor.fallback("loud")


def test_the_safety_net_catches_calls_below_torch_functions(q):
    with qtensor.fallback("error"):
        assert isinstance(torch.ops.aten.relu.default(q), qtensor.QTensor)
        assert isinstance(torch.ops.aten.view.default(q, [2, 4]), qtensor.QTensor)
        with pytest.raises(NotImplementedError, match="tan"):
            torch.ops.aten.tan.default(q)
    with qtensor.fallback("silent"):
        assert torch.equal(torch.ops.aten.tan.default(q), torch.tan(q.dequantize()))


def test_unequal_parameters_do_not_join_silently(q):
    other = qtensor.quantize_per_tensor(torch.ones(8), 0.5, 0, qtensor.quint8)
    with qtensor.fallback("error"), pytest.raises(NotImplementedError, match="cat"):
        torch.cat([q, other])
    joined = qtensor.ops.cat([q, other], 0, 0.02, 100)
    expected = torch.cat([q.dequantize(), other.dequantize()])
    assert (joined.dequantize() - expected).abs().max() <= 0.011
