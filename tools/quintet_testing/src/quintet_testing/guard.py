"""A pytest plugin that runs the tests in a torch without its legacy quantization stack.

``pytest -p quintet_testing.guard`` makes every name in :mod:`quintet_testing.legacy` behave as it
will once torch has removed it: importing it raises ``ModuleNotFoundError``, reading it
``AttributeError``, so that ``getattr(torch, "quint8", None)`` is ``None``. Torch itself still leans
on these parts (``torch.export`` reads ``torch.jit``), so the callers inside torch keep them; who
calls is told by the module name of the calling frame.

What is not covered: an object fetched from ``sys.modules`` by hand, and child processes.
"""

import builtins
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

import pytest
import torch

from .legacy import ATTRIBUTES, legacy_part

# Not ours to change: torch leans on its own legacy parts, and transformers asks torch.jit whether
# it is being traced. A model from there is only an input of our tests.
_EXEMPT = frozenset({"torch", "transformers"})

# Frames that stand between the caller and the guard; one of no module is code being evaluated, as
# torch's compiler does, for whoever evaluates it.
_PASSED_THROUGH = frozenset({__name__, "importlib", "importlib._bootstrap", "importlib.util", None})


def _refuses(frame: FrameType | None) -> bool:
    """Whether the caller, the first frame that is not import machinery, gets no legacy parts."""
    while frame is not None and frame.f_globals.get("__name__") in _PASSED_THROUGH:
        frame = frame.f_back
    if frame is None:
        return False
    return str(frame.f_globals.get("__name__")).partition(".")[0] not in _EXEMPT


def _refuse_import(name: str) -> None:
    part = legacy_part(name)
    if part is not None and _refuses(sys._getframe(1)):
        raise ModuleNotFoundError(
            f"{part} is a legacy part of torch, which the guard blocks", name=name
        )


class _Removed:
    """A data descriptor: it goes before the module's own ``__dict__``, and is gone for us."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType, _: type) -> Any:
        if self._name not in vars(module) or _refuses(sys._getframe(1)):
            raise AttributeError(name=self._name, obj=module)  # goes on to __getattr__ below
        return vars(module)[self._name]

    def __set__(self, module: ModuleType, value: object) -> None:
        vars(module)[self._name] = value

    def __delete__(self, module: ModuleType) -> None:
        del vars(module)[self._name]


def _guarded_class(base: type[ModuleType], names: Sequence[str]) -> type[ModuleType]:
    """A subclass of a module's class in which the attributes ``names`` are gone for us."""

    def __getattr__(module: ModuleType, name: str) -> Any:
        if name in names and _refuses(sys._getframe(1)):
            raise AttributeError(
                f"{module.__name__}.{name} is a legacy part of torch, which the guard blocks",
                name=name,
                obj=module,
            )
        if hasattr(base, "__getattr__"):  # torch.ops makes its namespaces on first use
            return base.__getattr__(module, name)
        raise AttributeError(
            f"module {module.__name__!r} has no attribute {name!r}", name=name, obj=module
        )

    removed = {name: _Removed(name) for name in names}
    return type(f"Guarded{base.__name__}", (base,), {"__getattr__": __getattr__, **removed})


class _Finder(importlib.abc.MetaPathFinder):
    """Refuses what reaches the import machinery without passing ``__import__``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        _refuse_import(fullname)
        return None


@contextmanager
def guarded() -> Iterator[None]:
    """Within the block, everyone outside torch does without its legacy parts."""
    real_import, real_import_module = builtins.__import__, importlib.import_module

    def guarded_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0 and name.partition(".")[0] == "torch":
            # `from torch import ao` would fall back to sys.modules if only the attribute failed.
            for wanted in (name, *(f"{name}.{attribute}" for attribute in fromlist or ())):
                _refuse_import(wanted)
        return real_import(name, globals, locals, fromlist, level)

    def guarded_import_module(name: str, package: str | None = None) -> ModuleType:
        _refuse_import(name)
        return real_import_module(name, package)

    finder = _Finder()
    owners = {name: _module(name) for name in ATTRIBUTES}
    classes = {name: type(owner) for name, owner in owners.items()}
    builtins.__import__, importlib.import_module = guarded_import, guarded_import_module
    sys.meta_path.insert(0, finder)
    for name, owner in owners.items():
        owner.__class__ = _guarded_class(classes[name], ATTRIBUTES[name])
    try:
        yield
    finally:
        for name, owner in owners.items():
            owner.__class__ = classes[name]
        sys.meta_path.remove(finder)
        builtins.__import__, importlib.import_module = real_import, real_import_module


def _module(dotted: str) -> ModuleType:
    module = torch
    for name in dotted.split(".")[1:]:
        module = getattr(module, name)
    return module


_active = guarded()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Start before any conftest imports the packages under test."""
    _active.__enter__()


def pytest_unconfigure() -> None:
    _active.__exit__(None, None, None)


def pytest_report_header() -> str:
    return "guard: the legacy parts of torch are blocked"
