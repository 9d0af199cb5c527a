"""What modules hold: saving, loading, copying, moving, and never a stale packed weight."""

import copy
import io
import pickle
import threading

import pytest
import torch
from torch import nn

import qtensor
from qtensor import nn as qnn

from .models import ResidualNet, filled, images, random_weight


@pytest.fixture
def model():
    return ResidualNet().eval()


def through_file(state, **options):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True, **options)


def blank():
    """A :class:`ResidualNet` that has nothing of a trained one but its layers."""
    net = ResidualNet().eval()
    for module in net.modules():
        if hasattr(module, "qweight"):
            module.qweight.zero_()
        if hasattr(module, "output_qparams"):
            module.output_qparams = qtensor.QParams(1.0, 0, module.output_qparams.dtype)
    return net


@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_round_trip(model, assign):
    state = through_file(model.state_dict())
    assert all(type(value) is torch.Tensor for value in state.values())
    loaded = blank()
    loaded(images())  # packs what is about to be replaced
    assert not loaded.load_state_dict(state, assign=assign).missing_keys
    assert torch.equal(loaded(images()), model(images()))
    assert loaded.quant.scale == 0.05  # float32 would have rounded it


def test_names_in_a_state_dict():
    assert set(qnn.quantized.Linear(3, 2).state_dict()) == {
        "qweight",
        "weight_scales",
        "float_bias",
        "scale",
        "zero_point",
    }
    assert set(qnn.quantized.dynamic.Linear(3, 2, bias_=False).state_dict()) == {
        "qweight",
        "weight_scales",
        "reduce_range",
    }
    layer = qnn.quantized.Quantize(0.5, 0, qtensor.qint8, None, -64, 63)
    state = layer.state_dict()
    assert state["zero_point"].dtype is torch.int8
    assert (int(state["quant_min"]), int(state["quant_max"])) == (-64, 63)


def test_output_parameters_come_from_what_is_loaded():
    saved = qnn.quantized.Quantize(0.5, 3, qtensor.qint8, None, -64, 63)
    loaded = qnn.quantized.Quantize(1.0, 0, qtensor.quint8)
    loaded.load_state_dict(saved.state_dict())
    assert loaded.output_qparams == saved.output_qparams


def test_the_kind_of_weight_comes_from_what_is_loaded():
    asymmetric = qtensor.quantize_per_tensor(torch.randn(2, 3), 0.125, 7, qtensor.qint8)
    saved = qnn.quantized.Linear(3, 2)
    saved.set_weight_bias(asymmetric, torch.ones(2))
    assert saved.weight_zero_points.tolist() == [7, 7]
    loaded = filled(qnn.quantized.Linear(3, 2))
    symmetric = loaded.state_dict()
    loaded.load_state_dict(saved.state_dict())
    assert torch.equal(loaded.weight(), asymmetric)
    loaded.load_state_dict(symmetric)
    assert loaded.weight_zero_points is None and loaded.weight().qparams.axis == 0


@pytest.mark.parametrize("reduced", [False, True])
def test_the_range_of_activations_comes_from_what_is_loaded(reduced):
    saved = filled(qnn.quantized.dynamic.Linear(4, 2, reduce_range=reduced))
    loaded = qnn.quantized.dynamic.Linear(4, 2, reduce_range=not reduced)
    loaded.load_state_dict(saved.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(loaded(x), saved(x))


def test_problems_in_a_state_dict_are_reported():
    layer = qnn.quantized.Linear(3, 2)
    state = layer.state_dict()
    del state["scale"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"scale"'):
        layer.load_state_dict(state)
    state = layer.state_dict() | {"scale": torch.tensor(-1.0)}
    with pytest.raises(RuntimeError, match="positive, finite scale"):
        layer.load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch for qweight"):
        layer.load_state_dict(qnn.quantized.Linear(4, 2).state_dict())
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"stranger"'):
        layer.load_state_dict(layer.state_dict() | {"stranger": torch.ones(1)})


def test_safetensors(model, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = blank()
    loaded.load_state_dict(safetensors.load_file(tmp_path / "model.safetensors"))
    assert torch.equal(loaded(images()), model(images()))


def test_copies_and_pickles(model):
    expected = model(images())  # the packed weights exist now
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(images()), expected)
        copied.fc.qweight.neg_()
        assert not torch.equal(copied(images()), expected)
        assert torch.equal(model(images()), expected)


def test_casts_keep_the_dtypes_of_quantized_modules(model):
    expected = model(images())
    for cast in (model.half, model.double, model.bfloat16):
        assert torch.equal(cast()(images()), expected)
    assert qnn.quantized.Embedding(3, 2).half().weight_scales.dtype is torch.float32
    assert model.to("meta").fc.qweight.device.type == "meta"


# ---- the packed weight is a cache


def linear_and_input():
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    layer = filled(qnn.quantized.dynamic.Linear(16, 8))
    layer(x)
    return layer, x


def fresh_result(layer, x):
    fresh = qnn.quantized.dynamic.Linear(16, 8)
    fresh.set_weight_bias(qtensor.QTensor(layer.qweight.clone(), layer.weight().qparams), None)
    fresh.float_bias = layer.float_bias
    return fresh(x)


CHANGES = {
    "in place": lambda layer: layer.qweight.neg_(),
    "item": lambda layer: layer.qweight.__setitem__(0, 5),
    "through a view": lambda layer: layer.qweight.view(-1)[::2].zero_(),
    "assigned": lambda layer: setattr(layer, "qweight", layer.qweight.flip(0)),
    "set_weight_bias": lambda layer: layer.set_weight_bias(random_weight(8, 16, seed=9), None),
    "loaded": lambda layer: layer.load_state_dict(
        filled(qnn.quantized.dynamic.Linear(16, 8), seed=9).state_dict()
    ),
    "moved": lambda layer: layer._apply(lambda t: t.flip(0) if t.dim() == 2 else t),
    "data swapped": lambda layer: setattr(layer.qweight, "data", layer.qweight.flip(0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_weights_are_packed_anew(change):
    layer, x = linear_and_input()
    before = layer(x)
    CHANGES[change](layer)
    assert torch.equal(layer(x), fresh_result(layer, x))
    assert not torch.equal(layer(x), before)


def test_inference_mode_never_sees_a_stale_weight():
    layer, x = linear_and_input()
    with torch.inference_mode():
        before = layer(x)
        layer.qweight.neg_()  # an ordinary tensor: its version is counted here too
        assert torch.equal(layer(x), fresh_result(layer, x))
        made_here = filled(qnn.quantized.dynamic.Linear(16, 8), seed=3)
        made_here(x)
        made_here.qweight = layer.qweight.clone()
        made_here.weight_scales, made_here.float_bias = layer.weight_scales, layer.float_bias
        assert torch.equal(made_here(x), layer(x))
    layer.qweight.neg_()
    assert torch.equal(layer(x), before)


def test_writes_that_torch_cannot_see_need_repack():
    layer, x = linear_and_input()
    layer.qweight.numpy()[:] *= -1
    model = nn.Sequential(layer)
    assert qtensor.repack(model) is model
    assert torch.equal(model(x), fresh_result(layer, x))


def test_functional_call_with_other_weights():
    layer, x = linear_and_input()
    before = layer(x)
    others = {"qweight": layer.qweight.flip(0), "float_bias": torch.zeros(8)}
    result = torch.func.functional_call(layer, others, (x,))
    expected = (before - layer.float_bias).flip(1)
    scales = layer.weight_scales
    flipped = torch.func.functional_call(layer, others | {"weight_scales": scales.flip(0)}, (x,))
    torch.testing.assert_close(flipped, expected)
    assert not torch.equal(result, before)
    assert torch.equal(layer(x), before)


def test_many_threads_share_one_module():
    layer, x = linear_and_input()
    expected = layer(x)
    qtensor.repack(layer)
    results = []
    threads = [threading.Thread(target=lambda: results.append(layer(x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(torch.equal(result, expected) for result in results)
