"""On real digits, quantization-aware training gives back what quantization takes."""

import pytest

pytest.importorskip("sklearn")
from . import digits_training as digits  # it needs scikit-learn

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]


def test_training_recovers_half_of_the_loss_at_three_bits() -> None:
    result = digits.run(3)
    labels = result["labels"]
    assert digits.accuracy(result["int8"], result["float"]) >= 99
    before = digits.accuracy(result["float"], labels)
    calibrated = [digits.accuracy(row, labels) for row in result["calibrated"].values()]
    loss = before - max(calibrated)
    assert before > 98 and loss >= 2
    trained = [digits.accuracy(row, labels) for row in result["trained"]]
    assert before - sum(trained) / len(trained) <= loss / 2
