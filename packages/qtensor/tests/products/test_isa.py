"""The choice of instruction set, and what only holds for the machine code."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from qtensor import _isa, _kernels

SUM = """
import torch
from qtensor import _isa
from qtensor._ops.linear import linear_int32
w = torch.full((16, 64), 127, dtype=torch.int8)
print(_isa.ISA, linear_int32(torch.full((1, 64), 255, dtype=torch.uint8), 0, w)[0, 0].item())
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", ["", *_isa.available()])
def test_environment_variable(name):
    result = run(SUM, QTENSOR_ISA=name)
    assert result.stdout.split() == [name or _isa.available()[-1], str(64 * 127 * 255)]


def test_unknown_name():
    result = run("import qtensor", QTENSOR_ISA="sse9")
    assert result.returncode
    assert "QTENSOR_ISA='sse9' is unknown; expected one of scalar, avx2" in result.stderr


def test_name_of_what_the_machine_lacks(monkeypatch):
    monkeypatch.setattr(_isa, "available", lambda: ("scalar",))
    assert _isa.choose(None) == "scalar"
    with pytest.raises(RuntimeError, match="'avx2' is not available on this machine"):
        _isa.choose("avx2")


FORK = """
import os, signal, sys, torch
from qtensor._ops.linear import linear_int32
signal.alarm(60)  # a hanging child must not hang the test
torch.set_num_threads(2)
w, x = torch.ones(256, 256, dtype=torch.int8), torch.ones(64, 256, dtype=torch.uint8)
expected = linear_int32(x, 0, w)
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if torch.equal(linear_int32(x, 0, w), expected) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_works():
    result = run(FORK)
    assert result.returncode == 0, result.stderr


def disassembly(symbol):
    """The instructions of a function as (address, text)."""
    objdump = shutil.which("objdump")
    if not objdump:
        pytest.skip("needs objdump")
    command = [objdump, "-d", "--no-show-raw-insn", _kernels.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    body = re.search(rf"^[0-9a-f]+ <{symbol}>:\n(.*?)\n\n", listing, re.M | re.S)
    if not body:
        pytest.skip("needs symbols in the extension module")
    lines = (line.strip().split(":", 1) for line in body[1].splitlines())
    return [(int(address, 16), text.strip()) for address, text in lines]


def innermost_loops(instructions):
    """The instructions of each loop that holds no other, from its head to its jump back."""
    loops = []
    for address, text in instructions:
        jump = re.match(r"j\w+\s+([0-9a-f]+)", text)
        if jump and int(jump[1], 16) <= address:
            loops.append((int(jump[1], 16), address))
    for head, tail in loops:
        if not any((head, tail) != other and head <= other[0] and other[1] <= tail
                   for other in loops):  # fmt: skip
            yield [text for address, text in instructions if head <= address <= tail]


@pytest.mark.uninstrumented
@pytest.mark.skipif("avx2" not in _isa.available(), reason="needs the avx2 kernels")
@pytest.mark.parametrize(
    ("kernel", "loops", "longest"), [("dense_avx2", 5 * 4, 1000), ("bytes", 2, 60)]
)
def test_inner_loops_keep_sums_in_registers(kernel, loops, longest):
    """Compilers tend to spill a tile's accumulators to the stack, which halves the speed.

    ``longest``: more instructions are a whole tile, whose finished half may well lie there.
    """
    found = [
        loop
        for loop in innermost_loops(disassembly(kernel))
        if len(loop) <= longest and any("vpmadd" in text and "ymm" in text for text in loop)
    ]
    assert len(found) >= loops  # one for each kind of step, and each number of rows
    for loop in found:
        # The destination comes last. Reading a constant from the stack would cost nothing.
        spills = [text for text in loop if re.search(r"%ymm\d+,[^,(]*\(%r[sb]p[^)]*\)$", text)]
        assert not spills, spills
