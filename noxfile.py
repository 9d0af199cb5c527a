"""Every check of the repository, each in an environment of its own.

    python -m nox -s demo                # two real models quantized, measured, checked
    python -m nox -s tests               # all tests; "tests(qtensor)" for those of one package
    python -m nox -s lint types wheels bench sanitize

``-R`` runs a session again in the environment it left, without installing anything; the packages
are installed editable, so it sees changed Python files (changed C files need ``-r``).
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
# From the bottom up: each may import those before it, and no others.
PACKAGES = ("qtensor", "qobserve", "qgraph", "qbackends", "qflow")
TESTING = "tools/quintet_testing"
EXAMPLE = "examples/image_search"
# Those of qtensor's tests that call kernels.
KERNEL_TESTS = (
    *("conversion", "elementwise", "every", "pooling", "products", "training"),
    *("test_calls.py", "test_embedding_bag.py", "test_one_call.py"),
    *("test_running_range.py", "test_statistics.py"),
)
# A part of each package's tests, to show that what was built is whole: session "tests" runs all.
SMOKE_TESTS = {
    "qtensor": "every/test_functions.py",
    "qobserve": "test_minmax.py",
    "qgraph": "test_convert.py",
    "qbackends": "test_tables.py",
    "qflow": "test_quantize_dynamic.py",
}
GUARD = ("-p", "quintet_testing.guard", "-m", "not parity")
PYTEST = ("pytest", "-c", "pyproject.toml")
KERNELS = ("", "scalar")  # "" is the fastest of this machine
NO_TESTS_COLLECTED = 5

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "virtualenv"  # uv does not read pip's settings


def each(*names: str):
    """Parametrizes a session by package name."""
    return nox.parametrize("package", [nox.param(name, id=name) for name in names])


def layers(package: str) -> tuple[str, ...]:
    """The package and those below it."""
    return PACKAGES[: PACKAGES.index(package) + 1]


def editable(*folders: str) -> list[str]:
    """Arguments that make pip install these folders in place."""
    return [argument for folder in folders for argument in ("-e", folder)]


def group(name: str, project: str = ".") -> tuple[str, ...]:
    """The requirements of a dependency group in a folder's pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(f"{project}/pyproject.toml"), name)


def install(session: nox.Session, *requirements: str) -> None:
    """Install with the pinned versions, those of isolated build environments included."""
    constraints = (ROOT / "constraints.txt").as_uri()
    session.env.update(PIP_CONSTRAINT=constraints, PIP_BUILD_CONSTRAINT=constraints)
    session.install(*requirements)


def install_torch(session: nox.Session) -> None:
    """Torch comes first, by its exact version, so that nothing after it can pick another build."""
    install(session, "torch==2.13.0")


@nox.session
def demo(session: nox.Session) -> None:
    """Quantize a digits classifier and a sentence encoder; fail if they are not good enough."""
    install_torch(session)
    install(session, *editable(*(f"packages/{name}" for name in PACKAGES), TESTING), *group("demo"))
    session.run("python", "-m", "demo", *session.posargs)


@nox.session
@each(*PACKAGES, "example", "repository")
def tests(session: nox.Session, package: str) -> None:
    """Run one package's tests where only it and those below it are installed.

    The example is a library that needs qtensor alone.
    """
    install_torch(session)
    if package == "repository":
        everything = editable(*(f"packages/{name}" for name in PACKAGES), EXAMPLE)
        install(session, *everything, *editable(f"{TESTING}[bench]"))
        session.run("pytest", "tests", f"{TESTING}/tests", *session.posargs)
        return
    if package == "example":
        install(session, *editable("packages/qtensor", EXAMPLE), *group("test", EXAMPLE))
        project = ("-c", f"{EXAMPLE}/pyproject.toml")
        session.run("pytest", *project, f"{EXAMPLE}/tests", *session.posargs)
        return
    below = (f"packages/{name}" for name in layers(package))
    install(session, *editable(*below, TESTING), *group("test", f"packages/{package}"))
    run_tests(session, package, Path("packages", package, "tests"))


def run_tests(session: nox.Session, package: str, folder: Path) -> None:
    """Run a package's tests with each choice of kernels, legacy torch blocked where it can be.

    With them run the examples in the docstrings of the package as it is installed. Parity, which a
    package may have no test of, goes first: CI reads pytest's last line.
    """
    for isa in KERNELS:
        session.log(f"kernels: {isa or 'fastest'}")
        pytest = (*PYTEST, str(folder), *session.posargs)
        env = {"QTENSOR_ISA": isa}
        session.run(*pytest, "-m", "parity", env=env, success_codes=[0, NO_TESTS_COLLECTED])
        examples = ("--doctest-modules", "--pyargs", package)
        guarded = (*GUARD, f"--ignore={folder / 'parity'}")  # parity tests import what is blocked
        session.run(*pytest, *examples, *guarded, env=env)


@nox.session
def sanitize(session: nox.Session) -> None:
    """Run qtensor's kernel tests with AddressSanitizer and UndefinedBehaviorSanitizer."""
    install_torch(session)
    install(session, TESTING, *group("test", "packages/qtensor"))
    # Not editable: the instrumented modules must not replace the others in the working tree.
    package = ("--force-reinstall", "--no-deps", "--no-cache-dir", "packages/qtensor")
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -g"
    session.install(*package, env={"QTENSOR_CFLAGS": flags})
    runtime = (
        session.run("cc", f"-print-file-name={name}", external=True, silent=True).strip()
        for name in ("libasan.so", "libubsan.so")
    )
    env = {
        "LD_PRELOAD": ":".join(runtime),
        # The interpreter keeps what it allocates, and torch frees what others allocated.
        "ASAN_OPTIONS": "detect_leaks=0:alloc_dealloc_mismatch=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    tests = [f"packages/qtensor/tests/{name}" for name in KERNEL_TESTS]
    for isa in KERNELS:
        # What sanitizers report is printed from C, which pytest would catch and lose.
        options = ("-m", "not uninstrumented", "--capture=sys")
        session.run(*PYTEST, *options, *tests, *session.posargs, env={**env, "QTENSOR_ISA": isa})


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over the sources of the packages and the tools."""
    install_torch(session)
    install(session, *group("types"))
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, for mistakes and for format."""
    install(session, *group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff")


@nox.session
def build(session: nox.Session) -> None:
    """Build each package's sdist, and its wheel from that sdist, into dist/."""
    shutil.rmtree("dist", ignore_errors=True)
    install(session, *group("build"))
    for package in PACKAGES:
        session.run("python", "-m", "build", "--outdir", "dist", f"packages/{package}")


@nox.session(requires=["build"])
@each(*PACKAGES)
def wheels(session: nox.Session, package: str) -> None:
    """Install a package's wheel and only those below it; run its examples, and tests of its sdist.

    The examples in its docstrings import every module of the wheel. What the wheel computes does
    not differ from what the session "tests" ran, so of the tests in the sdist all are collected,
    but only a part is run.
    """
    install_torch(session)
    install(session, *(built(name, ".whl") for name in layers(package)))
    session.run("python", "-c", f"import {package}; print({package}.__file__)")
    install(session, TESTING, *group("test", f"packages/{package}"))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(built(package, ".tar.gz")) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        session.run(*PYTEST, str(unpacked / "tests"), "--collect-only", "-q", silent=True)
        smoke = str(unpacked / "tests" / SMOKE_TESTS[package])
        examples = ("--doctest-modules", "--pyargs", package)
        for isa in KERNELS:
            session.run(*PYTEST, smoke, *examples, *GUARD, env={"QTENSOR_ISA": isa})


def built(package: str, ending: str) -> str:
    """The file in dist/ that the session build made of a package."""
    (file,) = Path("dist").glob(f"quintet_{package}-*{ending}")
    return str(file)


@nox.session
def bench(session: nox.Session) -> None:
    """Time ours beside the peers. Arguments pick benchmarks by name: -- linear conv2d."""
    install_torch(session)
    packages = (f"packages/{name}" for name in PACKAGES)
    install(session, *editable(*packages, f"{TESTING}[bench]"), *group("bench"))
    for script in sorted(ROOT.glob("packages/*/benchmarks/[!_]*.py")):
        if not session.posargs or script.stem in session.posargs:
            session.run("python", str(script.relative_to(ROOT)))


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew, with the latest versions of everything but torch."""
    session.install("torch==2.13.0")
    names = {"hatchling", "cython"}
    names.update(*(group(name) for name in ("demo", "bench", "types", "lint", "build")))
    projects = (*(f"packages/{package}" for package in PACKAGES), EXAMPLE)
    names.update(*(group("test", project) for project in projects))
    session.install(*sorted(names))
    freeze = ("python", "-m", "pip", "freeze", "--all", "--exclude", "pip")
    frozen = session.run(*freeze, silent=True)
    lines = (line.partition("+")[0] for line in frozen.splitlines() if "==" in line)
    header = "# Everything that any session installs. Written by `python -m nox -s constraints`.\n"
    Path("constraints.txt").write_text(header + "\n".join(sorted(lines, key=str.lower)) + "\n")
