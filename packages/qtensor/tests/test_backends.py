"""The name of the backend whose conventions a program follows."""

from collections.abc import Iterator

import pytest

import qtensor


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    before = qtensor.backends.quantized.engine
    yield
    qtensor.backends.quantized.engine = before


def test_engine():
    quantized = qtensor.backends.quantized
    assert quantized.engine == "x86"
    for name in quantized.supported_engines:
        quantized.engine = name
        assert quantized.engine == name


def test_what_is_unknown_is_an_error():
    with pytest.raises(RuntimeError, match="out of x86, fbgemm, onednn, qnnpack, got 'cuda'"):
        qtensor.backends.quantized.engine = "cuda"
    with pytest.raises(RuntimeError, match="cannot be set"):
        qtensor.backends.quantized.supported_engines = []
