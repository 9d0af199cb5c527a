"""The eager engine: propagate, prepare, convert."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import qtensor
from qobserve import (
    DeQuantStub,
    MinMaxObserver,
    NoopObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    QConfig,
    QuantStub,
    QuantWrapper,
    add_quant_dequant,
    convert,
    default_dynamic_qconfig,
    default_per_channel_qconfig,
    default_qconfig,
    get_qparam_dict,
    prepare,
    propagate_qconfig_,
    swap_module,
    unseen_observers,
)
from qtensor import nn as qnn

STATIC = {
    QuantStub: qnn.quantized.Quantize,
    DeQuantStub: qnn.quantized.DeQuantize,
    nn.Linear: qnn.quantized.Linear,
    qnn.quantized.FloatFunctional: qnn.quantized.QFunctional,
}
A, B = default_qconfig, default_dynamic_qconfig


def body():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def observed(model, *batches, qconfig=default_per_channel_qconfig, **arguments):
    model.qconfig = qconfig
    prepared = prepare(model, allow_list=STATIC, **arguments)
    for batch in batches:
        prepared(batch)
    return prepared


class Swapped(nn.Module):
    """Remembers what it was made from."""

    @classmethod
    def from_float(cls, mod):
        swapped = cls()
        swapped.made_from = type(mod)
        return swapped

    from_observed = from_float

    def forward(self, x):
        return x


class TestPropagate:
    @pytest.mark.parametrize(
        ("qconfigs", "expected"),
        [
            (None, [None, None, None, None]),
            ({"": A}, [A, A, A, A]),
            ({nn.Linear: A}, [None, None, A, None]),
            ({"0": A}, [None, A, A, A]),
            ({"": A, nn.Linear: None}, [A, A, None, A]),
            ({"": A, nn.Linear: None, "0.0": B}, [A, A, B, A]),
            ({"0": None, nn.Linear: A}, [None, None, None, None]),
            ({"0": B, "0.0": None}, [None, B, None, B]),
            ({nn.Sequential: A, nn.ReLU: B}, [A, A, A, B]),
        ],
    )
    def test_precedence(self, qconfigs, expected):
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        propagate_qconfig_(model, qconfigs)
        modules = [model, model[0], model[0][0], model[0][1]]
        assert [module.qconfig for module in modules] == expected

    def test_what_a_module_says_itself_is_strongest(self):
        class Own(nn.Linear):
            qconfig = B

        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), Own(2, 2))
        model.qconfig = A
        model[0].qconfig = None
        propagate_qconfig_(model, {"0": B, "1": B, nn.Linear: B})
        assert [module.qconfig for module in model.modules()] == [A, None, B, B]

    def test_parametrized_modules_count_as_what_they_were(self):
        model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)))
        propagate_qconfig_(model, {nn.Linear: A})
        assert model[0].qconfig is A


class TestPrepare:
    def test_it_observes_outputs_of_the_listed_types(self):
        x = torch.randn(5, 4)
        model = QuantWrapper(body())
        prepared = observed(model, x)
        quant, first = prepared.quant.activation_post_process, prepared.module[0]
        assert quant.max_val == x.max()
        assert first.activation_post_process.max_val == first(x).max()
        assert not hasattr(prepared.module[1], "activation_post_process")
        assert not hasattr(prepared.dequant, "activation_post_process")
        assert not hasattr(model.quant, "activation_post_process")

    def test_observers_bear_the_names_of_their_modules(self):
        prepared = observed(QuantWrapper(body()))
        names = {m.name for m in prepared.modules() if isinstance(m, ObserverBase)}
        assert names == {"quant", "module.0", "module.2"}
        with pytest.warns(UserWarning, match=r"module\.0: 8 of 8 values"):
            prepared.module[0](torch.full((1, 4), float("nan")))

    def test_in_place(self):
        model = QuantWrapper(body())
        assert observed(model, inplace=True) is model

    def test_a_module_used_twice_is_observed_once(self):
        shared = nn.Linear(4, 4)
        prepared = observed(nn.Sequential(shared, shared), torch.randn(3, 4))
        assert prepared[0] is prepared[1]
        assert prepared[0].activation_post_process.count == 24
        assert len(prepared[0]._forward_hooks) == 1

    def test_functional_modules_get_an_observer(self):
        prepared = observed(nn.Sequential(qnn.quantized.FloatFunctional()))
        assert isinstance(prepared[0].activation_post_process, MinMaxObserver)

    def test_no_qconfig_at_all(self):
        with pytest.warns(UserWarning, match="no module has a qconfig"):
            prepared = prepare(body(), allow_list=STATIC)
        assert not unseen_observers(prepared)

    def test_none_leaves_a_part_float(self):
        model = body()
        model[0].qconfig = None
        assert [*unseen_observers(observed(model))] == ["2.activation_post_process"]

    def test_a_qconfig_without_activation(self):
        with pytest.raises(ValueError, match="0: its qconfig has no activation observer"):
            observed(body(), qconfig=QConfig(None, None))


class TestConvert:
    def test_a_static_model_runs_in_integers(self):
        torch.manual_seed(0)
        x = torch.randn(64, 4)
        model = QuantWrapper(body()).eval()
        converted = convert(observed(model, x), STATIC)
        assert isinstance(converted.module[0], qnn.quantized.Linear)
        assert [name for name, _ in converted.named_modules()] == [
            "",
            "quant",
            "dequant",
            "module",
            "module.0",
            "module.1",
            "module.2",
        ]
        assert not any(hasattr(module, "qconfig") for module in converted.modules())
        error = (converted(x) - model(x)).abs().max()
        assert error < 0.05 * model(x).abs().max()

    def test_the_model_given_stays_as_it_is(self):
        prepared = observed(QuantWrapper(body()), torch.randn(2, 4))
        convert(prepared, STATIC)
        assert isinstance(prepared.module[0], nn.Linear)
        assert convert(prepared, STATIC, inplace=True) is prepared
        assert isinstance(prepared.module[0], qnn.quantized.Linear)

    def test_unseen_observers_are_named_once(self):
        prepared = observed(QuantWrapper(body()))
        with pytest.warns(UserWarning, match=r"no data .* quant, module\.0, module\.2;") as caught:
            convert(prepared, STATIC)
        assert len(caught) == 1
        with pytest.raises(ValueError, match=r"no data .* quant, module\.0, module\.2;"):
            convert(prepared, STATIC, strict=True)

    def test_a_skeleton_takes_a_saved_state(self):
        x = torch.randn(8, 4)
        converted = convert(observed(QuantWrapper(body()), x), STATIC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            skeleton = convert(observed(QuantWrapper(body())), STATIC)
        skeleton.load_state_dict(converted.state_dict())
        assert torch.equal(skeleton(x), converted(x))

    def test_only_exact_types_with_a_qconfig_are_replaced(self):
        class Special(nn.Linear):
            pass

        model = nn.Sequential(nn.Linear(2, 2), Special(2, 2), nn.Linear(2, 2))
        propagate_qconfig_(model, {"": A, "2": None})
        kinds = [type(m) for m in convert(model, {nn.Linear: Swapped})]
        assert kinds == [Swapped, Special, nn.Linear]

    def test_a_module_used_twice_is_replaced_once(self):
        shared = nn.Linear(2, 2)
        model = nn.Sequential(shared, nn.Sequential(shared), shared)
        propagate_qconfig_(model, {"": A})
        converted = convert(model, {nn.Linear: Swapped})
        assert converted[0] is converted[1][0] is converted[2]
        assert isinstance(converted[0], Swapped)

    def test_the_model_itself_may_be_replaced(self):
        model = nn.Linear(2, 2)
        model.qconfig = A
        assert isinstance(convert(model, {nn.Linear: Swapped}), Swapped)

    def test_custom_modules_are_made_from_observed_ones(self):
        model = nn.Sequential(nn.Bilinear(2, 2, 2))
        propagate_qconfig_(model, {"": A})
        converted = convert(model, {}, custom_modules={nn.Bilinear: Swapped})
        assert converted[0].made_from is nn.Bilinear

    def test_what_is_observed_as_a_whole_stays_whole(self):
        pair = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        model = nn.Sequential(pair)
        model.qconfig = A
        prepared = prepare(model, allow_list={nn.Sequential})
        prepared(torch.ones(1, 4))
        converted = convert(prepared, {nn.Linear: Swapped})
        assert isinstance(converted[0][0], nn.Linear)
        assert not unseen_observers(converted)
        assert not converted._forward_hooks

    def test_the_qconfig_may_be_kept(self):
        prepared = observed(QuantWrapper(body()), torch.randn(2, 4))
        converted = convert(prepared, {}, remove_qconfig=False)
        assert converted.module[0].qconfig == default_per_channel_qconfig
        assert converted.module[0].activation_post_process.has_seen_data

    def test_hooks_and_mode_are_kept(self):
        called = []
        module = nn.Linear(2, 2).eval()
        module.qconfig = A
        module.register_forward_pre_hook(lambda *_: called.append("before"))
        module.register_forward_hook(lambda *_: called.append("after"))
        swapped = swap_module(module, {nn.Linear: Swapped})
        swapped(torch.ones(1, 2))
        assert called == ["before", "after"]
        assert not swapped.training

    def test_hooks_that_take_keyword_arguments_still_do(self):
        called = []
        module = nn.Linear(2, 2)
        module.qconfig = default_dynamic_qconfig
        module.register_forward_pre_hook(lambda *given: called.append(len(given)), with_kwargs=True)
        module.register_forward_hook(lambda *given: called.append(len(given)), with_kwargs=True)
        swap_module(module, {nn.Linear: qnn.quantized.dynamic.Linear})(torch.ones(1, 2))
        assert called == [3, 4]

    def test_functional_modules_without_counterpart_go_on_working(self):
        prepared = observed(nn.ModuleList([qnn.quantized.FloatFunctional()]))
        prepared[0].add(torch.ones(2), torch.ones(2))
        (functional,) = convert(prepared, {})
        assert torch.equal(functional.add(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))

    def test_reference_modules_are_told_how_to_quantize(self):
        module = nn.Linear(3, 2)
        module.qconfig = default_per_channel_qconfig
        swapped = swap_module(module, {nn.Linear: qnn.quantized.reference.Linear})
        weight = swapped.get_quantized_weight()
        assert weight.q_per_channel_axis() == 0
        bound = module.weight.abs().amax(1) / 127.5
        torch.testing.assert_close(weight.q_per_channel_scales(), bound.double(), check_dtype=False)


class TestParameterDictionaries:
    def test_per_tensor(self):
        observer = MinMaxObserver(dtype=qtensor.qint8, qscheme=qtensor.per_tensor_symmetric)
        observer(torch.tensor([-255.0, 0.0]))
        found = get_qparam_dict(observer)
        assert found.pop("scale").tolist() == [2.0]
        assert found.pop("zero_point").tolist() == [0]
        assert found == {
            "qscheme": qtensor.per_tensor_affine,
            "dtype": qtensor.qint8,
            "quant_min": -128,
            "quant_max": 127,
        }

    def test_per_channel(self):
        observer = PerChannelMinMaxObserver(ch_axis=1)
        observer(torch.ones(2, 3))
        found = get_qparam_dict(observer)
        assert (found["qscheme"], found["axis"]) == (qtensor.per_channel_affine, 1)
        assert found["scale"].shape == (3,)

    @pytest.mark.parametrize("kind", [PlaceholderObserver, NoopObserver])
    def test_nothing_to_quantize(self, kind):
        found = get_qparam_dict(kind(dtype=torch.float16))
        assert found == {"qscheme": None, "dtype": torch.float16}


class TestStubs:
    def test_stubs_pass_on(self):
        x = torch.ones(2)
        assert QuantStub()(x) is x
        assert DeQuantStub(A)(x) is x
        assert not hasattr(QuantStub(), "qconfig")
        assert DeQuantStub(A).qconfig is A

    def test_a_wrapper_takes_over_qconfig_and_mode(self):
        module = nn.ReLU().eval()
        module.qconfig = A
        wrapper = QuantWrapper(module)
        assert wrapper.quant.qconfig is wrapper.dequant.qconfig is A
        assert not wrapper.training

    def test_adding_stubs_around_leaves(self):
        shared = nn.Linear(2, 2)
        model = nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared))
        propagate_qconfig_(model, {nn.Linear: A})
        wrapped = add_quant_dequant(model)
        assert wrapped is model
        assert isinstance(model[0], QuantWrapper)
        assert model[1][1] is model[0]
        assert isinstance(model[1][0], nn.ReLU)
        leaf = nn.ReLU()
        leaf.qconfig = A
        assert add_quant_dequant(leaf).module is leaf
