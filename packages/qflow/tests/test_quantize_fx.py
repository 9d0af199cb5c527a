"""prepare_fx and convert_fx: the flow, and the arguments they refuse."""

import copy
import io

import pytest
import torch
from torch import Tensor, nn

import qflow
import qtensor
from qgraph import plan_of

X = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)
    ).eval()


def quantize(model: nn.Module, mapping: qflow.QConfigMapping | None = None) -> nn.Module:
    mapping = mapping or qflow.get_default_qconfig_mapping("x86")
    prepared = qflow.prepare_fx(model, mapping, (X,))
    prepared(X)
    return qflow.convert_fx(prepared)


def test_prepare_computes_as_before_and_leaves_the_model_alone(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    prepared = qflow.prepare_fx(model, qflow.get_default_qconfig_mapping(), (X,))
    torch.testing.assert_close(prepared(X), model(X))
    assert [type(child).__name__ for child in model] == [
        "Conv2d", "BatchNorm2d", "ReLU", "Flatten", "Linear",
    ]  # fmt: skip
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_static_int8(model: nn.Module) -> None:
    quantized = quantize(model)
    assert (quantized(X) - model(X)).norm() < 0.03 * model(X).norm()
    assert type(quantized.get_submodule("0")) is qtensor.nn.intrinsic.quantized.ConvReLU2d
    assert type(quantized.get_submodule("4")) is qtensor.nn.quantized.Linear


def test_the_reference_model_gives_the_same_numbers(model: nn.Module) -> None:
    prepared = qflow.prepare_fx(model, qflow.get_default_qconfig_mapping("x86"), (X,))
    prepared(X)
    reference = qflow.convert_to_reference_fx(copy.deepcopy(prepared))
    quantized = qflow.convert_fx(prepared)
    expected, actual = reference(X), quantized(X)
    # They may differ where a value falls between two integers: by one step of the output.
    step = quantized.get_submodule("4").scale
    assert (actual - expected).abs().max() <= 1.01 * step
    assert ((actual - expected).abs() > 0.01 * step).double().mean() < 0.1


def test_state_dict_round_trip(model: nn.Module) -> None:
    first = quantize(model)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    torch.manual_seed(1)
    other = copy.deepcopy(model)
    for parameter in other.parameters():
        nn.init.uniform_(parameter, 0.1, 0.5)
    second = quantize(other)
    assert not torch.equal(second(X), first(X))
    second.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(second(X), first(X))


def test_a_part_set_to_none_stays_float(model: nn.Module) -> None:
    mapping = qflow.get_default_qconfig_mapping("x86").set_module_name("4", None)
    assert type(quantize(model, mapping).get_submodule("4")) is nn.Linear


def test_fuse_fx_folds_batch_norm(model: nn.Module) -> None:
    fused = qflow.fuse_fx(model)
    assert type(fused.get_submodule("0")) is qtensor.nn.intrinsic.ConvReLU2d
    torch.testing.assert_close(fused(X), model(X))


def test_uncalibrated_conversion_names_the_layers(model: nn.Module) -> None:
    mapping = qflow.get_default_qconfig_mapping()
    with pytest.warns(UserWarning, match="0"):
        qflow.convert_fx(qflow.prepare_fx(model, mapping, (X,)))
    with pytest.raises(ValueError, match="0"):
        qflow.convert_fx(qflow.prepare_fx(model, mapping, (X,)), strict=True)


@pytest.mark.parametrize("backend", qtensor.backends.quantized.supported_engines)
def test_default_mappings(backend: str) -> None:
    mapping = qflow.get_default_qconfig_mapping(backend)
    observer = mapping.global_qconfig.activation()
    assert observer.quant_max == (127 if backend == "fbgemm" else 255)
    trained = qflow.get_default_qat_qconfig_mapping(backend)
    assert trained.global_qconfig == qflow.get_default_qat_qconfig(backend)


def test_dictionaries_of_old_are_read_with_a_warning(model: nn.Module) -> None:
    mapping = {"": qflow.get_default_qconfig("x86")}
    with pytest.warns(FutureWarning, match="dictionary as qconfig_mapping; use a QConfigMapping"):
        prepared = qflow.prepare_fx(model, mapping, (X,))
    with pytest.warns(FutureWarning, match="prepare_custom_config"):
        qflow.prepare_fx(
            model,
            qflow.QConfigMapping(),
            (X,),
            {"non_traceable_module_name": ["4"]},
        )
    prepared(X)


def test_a_tensor_alone_is_the_only_argument(model: nn.Module) -> None:
    mapping = qflow.get_default_qconfig_mapping()
    prepared = qflow.prepare_fx(model, mapping, X)
    assert str(plan_of(prepared)) == str(plan_of(qflow.prepare_fx(model, mapping, (X,))))


def test_wrong_arguments(model: nn.Module) -> None:
    mapping = qflow.get_default_qconfig_mapping()
    with pytest.raises(TypeError, match=r"prepare_fx expects a torch.nn.Module, got function"):
        qflow.prepare_fx(lambda x: x, mapping, (X,))
    with pytest.raises(TypeError, match=r"example_inputs to be a tuple .* got dict"):
        qflow.prepare_fx(model, mapping, {"input": X})
    with pytest.raises(TypeError, match="qconfig_mapping to be a QConfigMapping, got QConfig"):
        qflow.prepare_fx(model, qflow.get_default_qconfig("x86"), (X,))
    with pytest.raises(TypeError, match="needs a qconfig_mapping, got None"):
        qflow.prepare_fx(model, None, (X,))
    with pytest.raises(TypeError, match="backend_config to be a BackendConfig, got str"):
        qflow.prepare_fx(model, mapping, (X,), backend_config="x86")
    with pytest.raises(ValueError, match="cannot equalize"):
        qflow.prepare_fx(model, mapping, (X,), _equalization_config=object())
    with pytest.raises(ValueError, match=r"prepare"):
        qflow.convert_fx(model)
    with pytest.raises(ValueError, match="leave out keep_original_weights"):
        qflow.convert_fx(model, keep_original_weights=True)
    with pytest.raises(ValueError, match="'arm9'"):
        qflow.get_default_qconfig_mapping("arm9")


def test_a_float_tensor_where_integers_are_expected(model: nn.Module) -> None:
    layer = quantize(model).get_submodule("0")
    with pytest.raises(TypeError):
        layer(X)


def test_wrong_shapes_are_named(model: nn.Module) -> None:
    quantized = quantize(model)
    wrong: Tensor = torch.rand(2, 4, 8, 8)
    with pytest.raises(ValueError, match=r"4"):
        quantized(wrong)
