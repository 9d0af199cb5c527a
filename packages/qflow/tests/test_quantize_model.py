"""quantize_model: the modes, the report, and what it does with what it cannot quantize."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import qflow
import qtensor


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.project = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.conv(x)))
        x = F.relu(self.project(x) + x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Branching(nn.Module):
    """Its forward depends on the data, so it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if x.sum() > 0 else x


IMAGES = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def convnet() -> ConvNet:
    torch.manual_seed(0)
    return ConvNet()


@pytest.mark.parametrize("backend", qtensor.backends.quantized.supported_engines)
def test_static(backend: str, convnet: ConvNet) -> None:
    quantized, report = qflow.quantize_model(convnet, IMAGES.split(4), backend)
    assert convnet.training and not quantized.training
    expected = convnet.eval()(IMAGES)
    assert (quantized(IMAGES) - expected).norm() < 0.05 * expected.norm()
    scheme = "per tensor" if backend == "qnnpack" else "per channel"
    assert report["conv"].weight == f"qint8 {scheme}"
    assert report["head"].quantized and report["project"].quantized
    assert report["head"].bytes_after < report["head"].bytes_before
    assert all(row.sqnr is None or row.sqnr > 15 for row in report)
    assert report["conv"].sqnr is not None and report["head"].sqnr is not None


def test_bytes_add_up(convnet: ConvNet) -> None:
    _, report = qflow.quantize_model(convnet, IMAGES.split(4))
    expected = sum(tensor.nbytes for tensor in convnet.state_dict().values())
    assert report.bytes_before == expected


class Unusual(nn.Module):
    """Parameters of its own, one layer called twice, and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8, 8))
        self.twice = nn.Linear(8, 8)
        self.never = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(self.twice(F.relu(F.linear(x, self.weight))))


def test_every_byte_is_counted_once() -> None:
    model = Unusual()
    _, report = qflow.quantize_model(model, [torch.rand(16, 8)])
    rows = [(row.name, row.was, row.bytes_before, row.quantized) for row in report]
    assert rows == [
        ("linear", "linear + relu", 256, True),
        ("twice", "Linear", 288, True),
        ("twice", "Linear", 0, True),
        ("never", "Linear", 48, False),
    ]
    assert report["linear"].sqnr > 30
    assert report["never"].why == "not used"
    assert report.bytes_after == report["linear"].bytes_after + report["twice"].bytes_after


def test_a_dataloader_with_labels(convnet: ConvNet) -> None:
    loader = DataLoader(TensorDataset(IMAGES, torch.zeros(16)), batch_size=8)
    _, report = qflow.quantize_model(convnet, loader)
    assert any("taken for labels" in note for note in report.notes)


def test_dictionaries_name_the_arguments(convnet: ConvNet) -> None:
    quantized, _ = qflow.quantize_model(convnet, [{"x": IMAGES}])
    assert quantized(x=IMAGES).shape == (16, 4)


def test_skipped_modules_stay_float(convnet: ConvNet) -> None:
    quantized, report = qflow.quantize_model(convnet, [IMAGES], skip=["head"])
    assert type(quantized.head) is nn.Linear
    assert not report["head"].quantized and "skip" in report["head"].why


@pytest.mark.parametrize("mode", ["dynamic", "weight_only"])
def test_modes_without_calibration(mode: str) -> None:
    model = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.LayerNorm(8))
    quantized, report = qflow.quantize_model(model, mode=mode)
    assert quantized(torch.arange(9)).shape == (9, 8)
    assert report["0"].quantized and report["0"].weight.startswith("quint8")
    assert report["1"].quantized and report["1"].weight == "qint8 per channel"
    kind = qtensor.nn.quantized.dynamic if mode == "dynamic" else qtensor.nn.quantized.weight_only
    assert type(quantized[1]) is kind.Linear
    assert report["2"].why == f"x86 has no {mode} form of LayerNorm"
    assert all(row.sqnr is None for row in report)


def test_a_data_dependent_submodule_stays_float_and_is_named() -> None:
    model = nn.Sequential(nn.Linear(8, 8), Branching(), nn.Linear(8, 8))
    data = torch.rand(16, 8)
    quantized, report = qflow.quantize_model(model, [data])
    assert type(quantized.get_submodule("1.linear")) is nn.Linear
    assert report["0"].quantized and report["2"].quantized
    assert not report["1.linear"].quantized
    assert any("test_quantize_model.py:" in note and "1" in note for note in report.notes)
    with pytest.raises(Exception, match=r"test_quantize_model.py"):
        qflow.quantize_model(model, [data], strict=True)


def test_layers_of_a_model_that_cannot_be_traced_are_quantized_one_by_one() -> None:
    data = torch.rand(16, 8)
    quantized, report = qflow.quantize_model(Branching(), [data])
    assert quantized(data).shape == quantized(-data).shape == (16, 8)
    assert report["linear"].became == "quantized Linear"
    assert report["linear"].bytes_before == 4 * 72 and report["linear"].sqnr > 30
    assert any("test_quantize_model.py:" in note for note in report.notes)


def test_an_optional_argument_that_the_data_leave_out_is_traced_as_none() -> None:
    class OptionalInput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            if mask is not None:  # for a tracer that knows nothing of the data, always
                x = x * mask
            return self.linear(x)

    data = torch.rand(16, 8)
    quantized, report = qflow.quantize_model(OptionalInput(), [data])
    assert quantized(data).shape == (16, 8)
    assert [(layer.name, layer.became) for layer in report] == [("linear", "quantized Linear")]


def test_where_tracing_goes_wrong_the_model_is_quantized_dynamically() -> None:
    class TensorOrDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
            if isinstance(x, Tensor):  # what a tracer hands over is none
                return self.linear(x)
            return self.linear(x["features"])

    data = torch.rand(16, 8)
    quantized, report = qflow.quantize_model(TensorOrDict(), [data])
    assert quantized(data).shape == (16, 8)
    assert report["linear"].became == "dynamic Linear"
    assert "the dynamic mode was used instead: the traced model does not run" in report.notes[-1]
    assert not any("\n" in note for note in report.notes)
    with pytest.raises(IndexError, match="too many indices"):
        qflow.quantize_model(TensorOrDict(), [data], strict=True)


def test_a_model_with_nothing_to_quantize_says_so() -> None:
    _, report = qflow.quantize_model(nn.Sequential(nn.LayerNorm(8)), [torch.rand(4, 8)])
    assert not report["0"].quantized
    assert "nothing in the model can be quantized statically" in report.notes[-1]


def test_data_that_does_not_fit_is_the_models_own_error(convnet: ConvNet) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        qflow.quantize_model(convnet, [torch.rand(2, 5, 8, 8)])


def test_nan_in_calibration_is_reported_with_the_layers_name(convnet: ConvNet) -> None:
    poisoned = IMAGES.clone()
    poisoned[0, 0, 0, 0] = float("nan")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantized, _ = qflow.quantize_model(convnet, [IMAGES, poisoned])
    # The input is poisoned, and from there every layer.
    named = {str(warning.message).partition(":")[0] for warning in caught}
    assert named >= {"x", "conv", "project", "head"}
    assert all("NaN or infinite" in str(warning.message) for warning in caught)
    assert torch.isfinite(quantized(IMAGES)).all()


def test_a_batch_of_nothing(convnet: ConvNet) -> None:
    quantized, _ = qflow.quantize_model(convnet, [IMAGES])
    assert quantized(IMAGES[:0]).shape == (0, 4)


def test_unknown_names_are_refused_with_the_known_ones(convnet: ConvNet) -> None:
    with pytest.raises(ValueError, match=r"x86, fbgemm.* 'arm9'"):
        qflow.quantize_model(convnet, [IMAGES], backend="arm9")
    with pytest.raises(ValueError, match="'int8'; expected one of static, dynamic, weight_only"):
        qflow.quantize_model(convnet, [IMAGES], mode="int8")
    with pytest.raises(ValueError, match=r"'tail'.* no such modules"):
        qflow.quantize_model(convnet, [IMAGES], skip=["tail"])


def test_static_without_data_is_refused(convnet: ConvNet) -> None:
    with pytest.raises(ValueError, match="static mode needs data"):
        qflow.quantize_model(convnet)
    with pytest.raises(ValueError, match="at least one batch"):
        qflow.quantize_model(convnet, [])


def test_no_warning_in_the_ordinary_case(convnet: ConvNet) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        qflow.quantize_model(convnet, [IMAGES])


def test_layers_whose_weight_is_parametrized() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 3))
    model, x = nn.Sequential(layer, nn.Flatten(), nn.Linear(48, 4)).eval(), torch.randn(2, 3, 8)
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    for mode in ("dynamic", "weight_only", "static"):
        quantized, report = qflow.quantize_model(model, [x], mode=mode)
        assert (quantized(x) - model(x)).norm() < 0.05 * model(x).norm()
        assert report.bytes_before == held
        assert report["0"].quantized == (mode == "dynamic")


def test_nothing_to_quantize_is_said() -> None:
    _, report = qflow.quantize_model(nn.Conv2d(3, 4, 3), mode="weight_only")
    assert report.notes == ("nothing in the model has a weight_only form",)
