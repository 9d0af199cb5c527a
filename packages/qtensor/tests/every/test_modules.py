"""What holds for every quantized module: copies, saving, tracing, threads; never a stale weight."""

import copy
import io
import math
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import qtensor

from .kernels import assert_same
from .modules import ELSEWHERE, modules, public

each_module = pytest.mark.parametrize("module", modules(), ids=str)
# All but the reference modules, which are float ones and compute with torch alone.
KERNELS = [module for module in modules() if module.path != "nn.quantized.reference"]
each_of_kernels = pytest.mark.parametrize("module", KERNELS, ids=str)
WEIGHTED = [module for module in modules() if hasattr(module.make(), "float_bias")]
each_weighted = pytest.mark.parametrize("module", WEIGHTED, ids=str)


class Floats(nn.Module):
    """A module between floats: a quantized one with its input quantized, its output dequantized."""

    def __init__(self, module):
        super().__init__()
        self.module = module.make()
        self.quantized_input = module.quantized_input

    def forward(self, *inputs):
        if self.quantized_input:
            inputs = [qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8) for x in inputs]
        return qtensor.dequantize(self.module(*inputs))


def floats(inputs):
    return tuple(qtensor.dequantize(x) if isinstance(x, qtensor.QTensor) else x for x in inputs)


def result(layer, module, inputs=None):
    return qtensor.dequantize(layer(*(inputs or module.inputs())))


def test_every_module_has_an_example():
    named = {(module.path, module.name) for module in modules()}
    assert {pair for pair in public() if pair[1] not in ELSEWHERE} == named


# Layers of one and three axes, and transposed ones with an activation, differ in numbers only.
TRACED = [
    module
    for module in modules()
    if not module.name.endswith(("1d", "3d"))
    and not ("intrinsic" in module.path and "Transpose" in module.name)
]


@pytest.mark.parametrize("module", TRACED, ids=str)
@pytest.mark.parametrize("how", ["compile", "export", "strict export"])
def test_tracing(module, how):
    torch._dynamo.reset()
    model, inputs = Floats(module).eval(), floats(module.inputs())
    expected = model(*inputs)
    if how == "compile":
        traced = torch.compile(model, backend="aot_eager", fullgraph=True)
    else:
        program = torch.export.export(model, inputs, strict=how == "strict export")
        traced = program.module()
        names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
        assert not any("quantized." in name or "dequantize.self" in name for name in names)
    assert_same(traced(*inputs), expected, strides=False)


@each_module
def test_copies_and_files(module):
    layer = module.make()
    expected = result(layer, module)
    assert_same(result(copy.deepcopy(layer), module), expected)
    assert_same(result(pickle.loads(pickle.dumps(layer)), module), expected)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    loaded = module.make()
    for buffer in loaded.buffers():
        buffer.fill_(1)
    if hasattr(loaded, "qweight"):
        result(loaded, module)  # what it packs is of no use after loading
    loaded.load_state_dict(torch.load(file, weights_only=True))
    assert_same(result(loaded, module), expected)


@each_module
def test_safetensors(module):
    safetensors = pytest.importorskip("safetensors.torch")
    layer, loaded = module.make(), module.make()
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    for buffer in loaded.buffers():
        buffer.zero_()
    loaded.load_state_dict(safetensors.load(safetensors.save(state)))
    assert_same(result(loaded, module), result(layer, module))


@each_of_kernels
def test_casts_and_inference_mode_change_nothing(module):
    layer = module.make()
    expected = result(layer, module)
    with torch.inference_mode():
        assert_same(result(layer, module), expected)
        assert_same(result(module.make(), module, module.inputs()), expected)
    for cast in (layer.half, layer.double, lambda: layer.to(torch.bfloat16)):
        assert_same(result(cast(), module), expected)


CHANGES = {
    "in place": lambda layer: layer.qweight.neg_(),
    "an item": lambda layer: layer.qweight.select(0, 0).fill_(99),
    "replaced": lambda layer: setattr(layer, "qweight", layer.qweight.flip(0)),
    "data swapped": lambda layer: setattr(layer.qweight, "data", layer.qweight.flip(0)),
    "scales": lambda layer: layer.weight_scales.mul_(2),
    "bias": lambda layer: layer.float_bias.add_(1),
    "no bias": lambda layer: setattr(layer, "float_bias", None),
    "zero points": lambda layer: setattr(
        layer, "weight_zero_points", torch.arange(len(layer.weight_scales)) - 3
    ),
    "loaded": lambda layer: layer.load_state_dict(
        {
            name: -value if value.dtype == torch.int8 else value
            for name, value in layer.state_dict().items()
        },
        assign=True,
    ),
}


@each_weighted
@pytest.mark.parametrize("inference", [False, True], ids=["", "inference"])
def test_changed_weights_are_packed_anew(module, inference):
    with torch.inference_mode(inference):
        inputs = module.inputs()
        for name, change in CHANGES.items():
            layer = module.make()
            before = result(layer, module, inputs)
            change(layer)
            after = result(layer, module, inputs)
            assert_same(after, result(copy.deepcopy(layer), module, inputs))
            assert not torch.equal(after, before), name


@each_weighted
@pytest.mark.parametrize("scale", [math.nan, math.inf, 0.0, -1.0])
def test_scales_that_are_none_are_refused(module, scale):
    layer, other = module.make(), module.make()
    result(layer, module)
    layer.weight_scales[-1] = scale
    with pytest.raises(ValueError, match="positive, finite weight_scales") as refused:
        result(layer, module)
    assert layer._get_name() in str(refused.value)
    with pytest.raises(RuntimeError, match="positive, finite weight_scales"):
        other.load_state_dict(layer.state_dict())


@each_weighted
def test_functional_call(module):
    layer, inputs = module.make(), module.inputs()
    before = result(layer, module)
    others = {"qweight": layer.qweight.flip(0), "weight_scales": layer.weight_scales * 2}
    changed = copy.deepcopy(layer)
    changed.qweight, changed.weight_scales = others["qweight"], others["weight_scales"]
    called = qtensor.dequantize(torch.func.functional_call(layer, others, inputs))
    assert_same(called, result(changed, module))
    assert_same(result(layer, module), before)


def tensors_of(layer):
    return [*layer.parameters(), *layer.buffers()]


@pytest.mark.parametrize("module", [m for m in KERNELS if tensors_of(m.make())], ids=str)
def test_a_tensor_on_another_device_is_refused_by_name(module):
    layer, inputs = module.make(), module.inputs()
    result(layer, module)
    moved = [module.make().to("meta"), inputs], [layer, [x.to("meta") for x in inputs]]
    for called, given in moved:
        with pytest.raises(ValueError, match=r"one device, .* torch\.\w+ on cpu.*move") as refused:
            called(*given)
        message = str(refused.value)
        assert layer._get_name() in message and "on meta" in message


class Negated(nn.Module):
    def forward(self, weight):
        return weight.neg()


@each_weighted
def test_parametrized_weights(module):
    layer = module.make()
    before = result(layer, module)
    nn.utils.parametrize.register_parametrization(layer, "qweight", Negated(), unsafe=True)
    changed = module.make()
    changed.qweight.neg_()
    assert_same(result(layer, module), result(changed, module))
    nn.utils.parametrize.remove_parametrizations(layer, "qweight", leave_parametrized=False)
    assert_same(result(layer, module), before)


@each_of_kernels
def test_eight_threads_share_a_module(module):
    layer = module.make()
    inputs = module.inputs()
    expected = result(module.make(), module, inputs)
    with ThreadPoolExecutor(8) as pool:
        for one in pool.map(lambda _: result(layer, module, inputs), range(16)):
            assert_same(one, expected)


def test_a_forked_child_computes_the_same():
    examples = [(module, module.make(), module.inputs()) for module in KERNELS]
    expected = [result(layer, module, inputs) for module, layer, inputs in examples]
    torch.ones(1 << 20).add_(1)  # torch's threads run, and are gone in the child
    child = os.fork()
    if child == 0:  # it must not return to pytest, whatever happens
        try:
            for (module, layer, inputs), one in zip(examples, expected, strict=True):
                assert_same(result(layer, module, inputs), one)
                assert_same(result(copy.deepcopy(layer), module, inputs), one)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


STATIC = [
    module
    for module in modules()
    # Those of nn that run on floats as well are torch's own functions, and so are activations and
    # pools then.
    if module.quantized_input
    and module.name not in ("ReLU6", "Dropout", "DeQuantize")
    and "Pool" not in module.name
    and not isinstance(module.make(), qtensor.nn.quantized.Activation)
]


@pytest.mark.parametrize("module", STATIC, ids=str)
def test_a_float_tensor_is_refused_by_name(module):
    layer, inputs = module.make(), floats(module.inputs())
    with pytest.raises(TypeError) as refused:
        layer(*inputs)
    message = str(refused.value)
    assert "torch.float32" in message and "quantize" in message.lower()
    assert layer._get_name() in message


NO_TENSORS = {
    "None": lambda x: None,
    "numbers": lambda x: [1.0, 2.0],
    "an array": lambda x: x.detach().numpy(),
    "sparse": lambda x: x.to_sparse(),
}
# These take what they get, as those of torch do.
STRICT = [m for m in KERNELS if m.name not in ("ReLU6", "Dropout", "DeQuantize")]


@pytest.mark.parametrize("module", STRICT, ids=str)
def test_what_is_no_dense_tensor_is_refused_by_name(module):
    layer, inputs = module.make(), floats(module.inputs())
    for bad in NO_TENSORS.values():
        with pytest.raises(TypeError, match=r"expect.* tensor.*, got") as refused:
            layer(*map(bad, inputs))
        assert layer._get_name() in str(refused.value)


@each_weighted
def test_backward_is_refused(module):
    layer = module.make()
    inputs = module.inputs()
    if module.quantized_input:
        with pytest.raises(RuntimeError, match=r"backward\(\) through a QTensor of qtensor.quint8"):
            layer(*inputs).backward()
        return
    inputs = tuple(x.requires_grad_() for x in inputs)
    name = layer._get_name()
    with pytest.raises(RuntimeError, match=rf"in {name} \(of torch.int8\) has no gradient"):
        layer(*inputs).sum().backward()
    with pytest.raises(RuntimeError, match=rf"in {name} cannot be differentiated by torch.func"):
        torch.func.grad(lambda x: layer(x).sum())(*inputs)


@each_of_kernels
def test_vmap_calls_the_kernel_for_each_sample(module):
    if module.name.startswith(("Conv", "BatchNorm", "BNReLU")) and "2d" not in module.name:
        return  # as those of two axes
    model, inputs = Floats(module), floats(module.inputs())
    every = [torch.stack([x, x.flip(0)]) for x in inputs]
    expected = torch.stack([model(*each) for each in zip(*every, strict=True)])
    assert_same(torch.func.vmap(model)(*every), expected, strides=False)
