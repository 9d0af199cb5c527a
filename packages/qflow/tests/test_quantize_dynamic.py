"""quantize_dynamic: which modules are replaced, by what, and what is refused."""

import pytest
import torch
from torch import nn

import qflow
import qtensor
from qtensor.nn import intrinsic as nni
from qtensor.nn.quantized import Embedding, dynamic
from qtensor.nn.quantized.dynamic import Linear


class DerivedLinear(nn.Linear):
    """Has a forward of its own, so it is not to be replaced."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 16)
        self.inner = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), DerivedLinear(16, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.table(indices)))


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model()


INDICES = torch.arange(20).reshape(4, 5)


def kinds(model: nn.Module) -> list[type]:
    return [type(model.get_submodule(name)) for name in ("table", "inner.0", "inner.2", "head")]


def test_by_default_every_linear_is_replaced_in_a_copy(model: Model) -> None:
    quantized = qflow.quantize_dynamic(model)
    assert kinds(quantized) == [nn.Embedding, Linear, DerivedLinear, Linear]
    assert kinds(model) == [nn.Embedding, nn.Linear, DerivedLinear, nn.Linear]
    assert not quantized.training and model.training
    expected = model.eval()(INDICES)
    assert (quantized(INDICES) - expected).norm() < 0.03 * expected.norm()


def test_fused_convolutions_are_quantized_if_named() -> None:
    fused = nn.Sequential(nni.ConvReLU2d(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten()).eval()
    assert type(qflow.quantize_dynamic(fused)[0]) is nni.ConvReLU2d
    quantized = qflow.quantize_dynamic(fused, {nni.ConvReLU2d})
    assert type(quantized[0]) is nni.quantized.dynamic.ConvReLU2d
    x = torch.randn(2, 3, 6, 6)
    assert (quantized(x) - fused(x)).norm() < 0.02 * fused(x).norm()


def test_convolutions_are_quantized_if_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    assert type(qflow.quantize_dynamic(model)[0]) is nn.Conv2d
    quantized = qflow.quantize_dynamic(model, {nn.Conv2d})
    assert type(quantized[0]) is dynamic.Conv2d and type(quantized[2]) is nn.Linear
    x = torch.randn(2, 3, 4, 4)
    assert (quantized(x) - model(x)).norm() < 0.05 * model(x).norm()


def test_quint8_means_embedding_tables(model: Model) -> None:
    quantized = qflow.quantize_dynamic(model, dtype=qtensor.quint8)
    assert kinds(quantized) == [Embedding, nn.Linear, DerivedLinear, nn.Linear]


@pytest.mark.parametrize("dtype", [qtensor.qint8, torch.int8])
def test_dtypes_are_accepted_under_several_names(model: Model, dtype: object) -> None:
    quantized = qflow.quantize_dynamic(model, {"head"}, dtype=dtype)
    assert kinds(quantized)[3] is Linear


def test_a_set_of_types_and_names(model: Model) -> None:
    assert kinds(qflow.quantize_dynamic(model, {nn.Linear}))[1::2] == [Linear, Linear]
    assert kinds(qflow.quantize_dynamic(model, {"inner"}))[1::2] == [Linear, nn.Linear]
    assert kinds(qflow.quantize_dynamic(model, {"inner.0"}))[1::2] == [Linear, nn.Linear]


def test_a_dictionary_of_qconfigs_with_none_for_float(model: Model) -> None:
    spec = {
        nn.Linear: qflow.per_channel_dynamic_qconfig,
        nn.Embedding: qflow.float_qparams_weight_only_qconfig,
        "head": None,
    }
    quantized = qflow.quantize_dynamic(model, spec)
    assert kinds(quantized) == [Embedding, Linear, DerivedLinear, nn.Linear]
    assert quantized.inner[0].weight().qscheme().per_channel


def test_the_model_itself_may_be_replaced() -> None:
    layer, x = nn.Linear(16, 8), torch.randn(3, 16)
    quantized = qflow.quantize_dynamic(layer)
    assert type(quantized) is Linear and type(layer) is nn.Linear
    assert (quantized(x) - layer(x)).norm() < 0.05 * layer(x).norm()
    for model in (layer, nn.utils.parametrizations.weight_norm(layer)):
        again, report = qflow.quantize_model(model, x, mode="dynamic")
        assert type(again) is Linear and report[""].became == "dynamic Linear"
        assert len(report) == 1


def test_in_place(model: Model) -> None:
    assert qflow.quantize_dynamic(model, inplace=True) is model
    assert type(model.head) is Linear


def test_a_mapping_of_ones_own(model: Model) -> None:
    class Mine(nn.Module):
        @classmethod
        def from_float(cls, module: nn.Module) -> "Mine":
            return cls()

    assert type(qflow.quantize_dynamic(model, {nn.Linear}, mapping={nn.Linear: Mine}).head) is Mine


def test_what_has_no_effect_is_said(model: Model) -> None:
    with pytest.warns(UserWarning, match="names 'tail', but the model has no such module"):
        qflow.quantize_dynamic(model, {"tail"})
    with pytest.warns(UserWarning, match="DerivedLinear stays float: there is no quantized module"):
        qflow.quantize_dynamic(model, {DerivedLinear})


def test_what_a_dtype_is_not_for_stays_float_and_says_what_to_give(model: Model) -> None:
    with pytest.warns(
        UserWarning, match=r"Embedding 'table' .* dtype=qtensor.quint8 .* dictionary"
    ):
        assert kinds(qflow.quantize_dynamic(model, {"table"}))[0] is nn.Embedding
    with pytest.warns(UserWarning, match=r"Embedding stays float: .* dtype=qtensor.quint8"):
        qflow.quantize_dynamic(model, {nn.Embedding})
    with pytest.warns(UserWarning, match=r"Linear 'head' stays float: .* with dtype=qtensor.qint8"):
        qflow.quantize_dynamic(model, {"head"}, dtype=qtensor.quint8)
    with pytest.warns(UserWarning, match=r"ReLU 'inner.1' stays float: there is no quantized mod"):
        qflow.quantize_dynamic(model, {"inner.1"})
    whole = nn.Sequential(model)
    assert kinds(qflow.quantize_dynamic(whole, {"0"})[0])[0] is nn.Embedding
    assert kinds(qflow.quantize_dynamic(whole, {"0"}, qtensor.quint8)[0])[::3] == [
        Embedding,
        nn.Linear,
    ]


def test_float16_says_what_there_is(model: Model) -> None:
    with pytest.raises(RuntimeError, match=r"dtype is torch.float16.* default_weight_observer"):
        qflow.quantize_dynamic(model, {nn.Linear: qflow.float16_dynamic_qconfig})


def test_wrong_arguments(model: Model) -> None:
    with pytest.raises(TypeError, match=r"expects a torch.nn.Module, got the class Model; give an"):
        qflow.quantize_dynamic(Model)
    with pytest.raises(TypeError, match=r"expected qconfig_spec to be a set .* got type"):
        qflow.quantize_dynamic(model, nn.Linear)
    with pytest.raises(ValueError, match=r"quint8 or qtensor.quint4x2, got dtype torch.float16"):
        qflow.quantize_dynamic(model, dtype=torch.float16)
