"""Convolutions allocate little beside their output."""

import subprocess
import sys

import pytest

MEMORY = """
import resource, torch
from qtensor._ops._conv_axes import Geometry
from qtensor._ops.conv import conv_int32

torch.set_num_threads(1)
channels, size = 64, 400
w = torch.ones(channels, channels // GROUPS, 3, 3, dtype=torch.int8)
geometry = Geometry((1, 1), (DILATION, DILATION), (DILATION, DILATION), GROUPS)


def run(size):
    x = torch.ones(1, size, size, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output = conv_int32(x, 0, w, None, geometry)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 - output.nbytes


run(128)  # packs the weights
print(run(size))
"""


@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (64, 1), (64, 60)])
def test_memory_is_the_output_and_a_part_of_the_caches(groups, dilation):
    """Gathering the patches would take 92 MB here, a padded copy of the image 10 MB."""
    code = MEMORY.replace("GROUPS", str(groups)).replace("DILATION", str(dilation))
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(result.stdout) < 2**20, result.stdout
