"""Warnings point at the user's line, however many library functions lie between."""

import linecache
import warnings
from functools import partial

import pytest
import torch

import qtensor


def test_frames_of_torch_and_of_these_packages_are_passed_over():
    library = {"__name__": "qflow.somewhere"}
    exec("def call(function):\n    return function()", library)
    with pytest.warns(FutureWarning, match="careful") as caught:
        library["call"](partial(qtensor.warn_user, "careful", FutureWarning))
    assert caught[0].filename == __file__
    assert 'library["call"]' in linecache.getline(__file__, caught[0].lineno)


def test_the_innermost_line_of_the_user_counts():
    class Warns(torch.nn.Module):
        def forward(self, x):
            qtensor.warn_user("here")
            return x

    with pytest.warns(UserWarning, match="here") as caught:
        torch.nn.Sequential(Warns())(torch.ones(1))
    assert 'qtensor.warn_user("here")' in linecache.getline(__file__, caught[0].lineno)


def test_constructors():
    with pytest.warns(UserWarning, match=r"dropout=0\.5 has no effect") as caught:
        qtensor.nn.quantized.LSTM(4, 4, dropout=0.5)
    assert caught[0].filename == __file__


def test_a_line_warns_once_where_python_is_told_so():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            qtensor.warn_user("again")
        qtensor.warn_user("again")
    assert len(caught) == 2
