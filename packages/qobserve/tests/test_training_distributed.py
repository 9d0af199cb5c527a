"""Quantization-aware training over two processes under DDP."""

import subprocess
import sys

import pytest
import torch

from . import training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What each process saved: gradients and state, by (frozen, rank)."""
    result = str(tmp_path_factory.mktemp("training") / "result")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = subprocess.run([*torchrun, training.__file__, result], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return {
        (frozen, rank): torch.load(f"{result}-{frozen}-{rank}")
        for frozen in (True, False)
        for rank in (0, 1)
    }


def test_with_frozen_statistics_two_processes_are_as_one(trained):
    alone = training.model(frozen=True)
    training.train(alone, training.data())
    for rank in (0, 1):
        gradients, state = trained[True, rank]
        for given, parameter in zip(gradients, alone.parameters(), strict=True):
            torch.testing.assert_close(given, parameter.grad, rtol=1e-4, atol=1e-6)
        for name, value in alone.state_dict().items():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-6)


def test_parameters_and_gradients_stay_the_same_in_both_processes(trained):
    (gradients, state), (other_gradients, other_state) = trained[False, 0], trained[False, 1]
    assert all(map(torch.equal, gradients, other_gradients))
    # Statistics differ by each one's last batch; the next step begins with those of the first.
    for name, _ in training.model(frozen=False).named_parameters():
        assert torch.equal(state[name], other_state[name]), name
