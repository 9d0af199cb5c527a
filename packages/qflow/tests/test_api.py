"""The public names: each is one object, whichever path it is imported by."""

import importlib

import pytest

import qflow

MODULES = (
    "backend_config",
    "observer",
    "qconfig",
    "qconfig_mapping",
    "quant_type",
    "quantize",
    "quantize_fx",
    "stubs",
)


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_a_module_is_that_of_the_package(name: str) -> None:
    module = importlib.import_module(f"qflow.{name}")
    for public in module.__all__:
        assert getattr(module, public) is getattr(qflow, public)


def test_what_lower_packages_define_is_passed_on_unchanged() -> None:
    import qgraph
    import qobserve

    assert qflow.QConfigMapping is qobserve.QConfigMapping
    assert qflow.BackendConfig is qgraph.BackendConfig
    assert qflow.QuantStub is qobserve.QuantStub


def test_the_paths_below_fx() -> None:
    import qgraph

    for name in ("custom_config", "tracer"):
        module = importlib.import_module(f"qflow.fx.{name}")
        for public in module.__all__:
            assert getattr(module, public) is getattr(qgraph, public)
