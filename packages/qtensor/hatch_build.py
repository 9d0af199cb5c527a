"""Builds qtensor's compiled modules: as a hatchling hook, or in place by ``python hatch_build.py``.

In place, the names of extensions may be given, to build only those.

Every ``src/qtensor/*.pyx`` becomes one extension module, linked with the handwritten C files that
belong to it. The files never see a torch or NumPy header, so one build serves every version of
both. Only files named after an instruction set get its compiler flags: what the machine that
builds can do does not decide what runs elsewhere.

``QTENSOR_CFLAGS`` adds compiler and linker flags (sanitizers, ``-g``); each value of it has a build
folder of its own.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "src" / "qtensor"
# The C files of each extension; patterns are relative to csrc/.
EXTENSIONS = {
    "_kernels": (
        *("gemm*.c", "pack.c", "schedule.c", "finish*.c", "linear.c", "one_row*.c", "matmul.c"),
        *("conv*.c", "depthwise*.c", "weight_only*.c", "elementwise_*.c", "lstm.c", "dynamic.c"),
        "blocks.c",
    ),
    "_elementwise": (
        *("elementwise*.c", "fixed_point.c", "binary.c", "bytewise.c", "softmax.c"),
        *("attention*.c", "shuffle.c", "blocks.c", "half*.c"),
    ),
    "_fake_quantize": (
        *("fake_quantize*.c", "statistics*.c", "running_range.c", "blocks.c", "half*.c"),
    ),
    "_pooling": ("pool*.c", "interpolate*.c", "blocks.c"),
    "_calls": (),
    "_recalled": (),
    "_requantize": ("requantize*.c", "blocks.c"),
    "_statistics": ("statistics*.c", "running_range.c", "half*.c"),
    "_embedding": ("embedding*.c",),
}
# Contraction would let the compiler fuse a multiply and an add, and results would then differ
# between instruction sets. -fno-math-errno and -fno-trapping-math only allow inlining rint().
CFLAGS = ["-O3", "-fPIC", "-std=gnu11", "-fopenmp", "-fvisibility=hidden", "-Wall", "-Wextra"]
CFLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# Every processor with AVX2 has F16C; both are asked for before either is used.
ISA_FLAGS = {"_avx2": ["-mavx2", "-mf16c"]}


def build(*names: str) -> list[Path]:
    """Compile what is out of date of these extensions, or of all; returns the modules."""
    build_dir = ROOT / "build" / (f"{zlib.crc32(flags.encode()):x}" if (flags := _flags()) else "")
    build_dir.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        return [_link(name, build_dir, pool) for name in names or EXTENSIONS]


def _link(name: str, build_dir: Path, pool: ThreadPoolExecutor) -> Path:
    generated = build_dir / f"{name}.c"
    _cythonize(PACKAGE / f"{name}.pyx", generated)
    csrc = ROOT / "csrc"
    sources = sorted(path for pattern in EXTENSIONS[name] for path in csrc.glob(pattern))
    objects = list(pool.map(lambda source: _compile(source, build_dir), [generated, *sources]))
    module = build_dir / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if _outdated(module, *objects):
        _run(_compiler(), "-shared", "-fopenmp", *map(str, objects), "-lm", *_extra(), "-o", module)
    return module


def _cythonize(source: Path, generated: Path) -> None:
    if _outdated(generated, source, *PACKAGE.glob("*.pxd")):
        _run(sys.executable, "-m", "cython", "-3", source, "-o", generated)


def _compile(source: Path, build_dir: Path) -> Path:
    output = build_dir / f"{source.stem}.o"
    if _outdated(output, source, Path(__file__), *(ROOT / "csrc").glob("*.h")):
        isa = next((flags for end, flags in ISA_FLAGS.items() if source.stem.endswith(end)), [])
        includes = [f"-I{ROOT / 'csrc'}", f"-I{sysconfig.get_path('include')}"]
        _run(_compiler(), "-c", *CFLAGS, *isa, *includes, *_extra(), source, "-o", output)
    return output


def _outdated(output: Path, *inputs: Path) -> bool:
    if not output.exists():
        return True
    return any(path.stat().st_mtime > output.stat().st_mtime for path in inputs)


def _compiler() -> str:
    return os.environ.get("CC", "cc")


def _flags() -> str:
    return os.environ.get("QTENSOR_CFLAGS", "")


def _extra() -> list[str]:
    return shlex.split(_flags())


def _run(*command: str | Path) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{shlex.join(map(str, command))}\n{result.stdout}{result.stderr}")
    sys.stderr.write(result.stderr)  # warnings


class CustomBuildHook(BuildHookInterface[BuilderConfig]):
    """Compiles, then puts the modules into the wheel, or beside their sources when editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        modules = build()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version == "editable":
            _install(modules)
        else:
            build_data["force_include"].update({str(m): f"qtensor/{m.name}" for m in modules})


def _install(modules: list[Path]) -> None:
    for module in modules:
        # Replaced, never overwritten: a process may have the old file mapped.
        shutil.copy(module, PACKAGE / f"{module.name}.new")
        os.replace(PACKAGE / f"{module.name}.new", PACKAGE / module.name)


if __name__ == "__main__":
    _install(build(*sys.argv[1:]))
