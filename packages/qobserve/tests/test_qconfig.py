"""QConfig, the default ones, and QConfigMapping."""

import copy
import pickle

import pytest
import torch
from torch import nn

import qobserve
import qtensor
from qobserve import (
    MinMaxObserver,
    QConfig,
    QConfigDynamic,
    QConfigMapping,
    assert_valid_qconfig,
    default_dynamic_qconfig,
    default_qconfig,
    get_default_qconfig,
    qconfig_equals,
)


def test_a_qconfig_is_a_pair():
    qconfig = QConfig(activation=MinMaxObserver, weight=None)
    activation, weight = qconfig
    assert activation is MinMaxObserver
    assert weight is None
    assert qconfig._replace(weight=MinMaxObserver).weight is MinMaxObserver


def test_qconfigs_are_equal_when_they_make_the_same():
    one, two = (
        QConfig(MinMaxObserver.with_args(quant_min=0, quant_max=n), MinMaxObserver) for n in (7, 7)
    )
    assert qconfig_equals(one, two)
    assert qconfig_equals(one, copy.deepcopy(one))
    assert qconfig_equals(one, pickle.loads(pickle.dumps(one)))
    assert not qconfig_equals(one, None)
    assert qconfig_equals(None, None)
    assert not qconfig_equals(one, QConfig(MinMaxObserver, MinMaxObserver))


@pytest.mark.parametrize("name", ["activation", "weight"])
def test_an_instance_is_no_constructor(name):
    arguments = {"activation": None, "weight": None, name: MinMaxObserver()}
    with pytest.raises(ValueError, match=rf"expected {name} .*MinMaxObserver\.with_args"):
        QConfig(**arguments)


@pytest.mark.parametrize(
    ("backend", "quant_max", "per_channel"),
    [("x86", 255, True), ("fbgemm", 127, True), ("onednn", 255, True), ("qnnpack", 255, False)],
)
def test_what_each_backend_gets(backend, quant_max, per_channel):
    qconfig = get_default_qconfig(backend)
    activation, weight = qconfig.activation(), qconfig.weight()
    assert isinstance(activation, qobserve.HistogramObserver)
    assert (activation.dtype, activation.quant_min) == (qtensor.quint8, 0)
    assert activation.quant_max == quant_max
    assert (weight.dtype, weight.quant_min, weight.quant_max) == (qtensor.qint8, -128, 127)
    assert weight.qscheme.symmetric
    assert weight.qscheme.per_channel == per_channel


def test_unknown_defaults():
    with pytest.raises(ValueError, match="unknown backend 'arm'; expected one of x86, fbgemm"):
        get_default_qconfig("arm")
    with pytest.raises(ValueError, match="unknown version 3"):
        get_default_qconfig("x86", version=3)


@pytest.mark.parametrize(
    "qconfig", [value for value in vars(qobserve).values() if isinstance(value, QConfig)], ids=str
)
def test_every_default_makes_observers(qconfig):
    # An identity stands for what is left alone.
    kinds = (qobserve.ObserverBase, qobserve.FakeQuantizeBase, torch.nn.Identity)
    assert isinstance(qconfig.activation(), kinds)
    assert isinstance(qconfig.weight(), kinds)


def test_dynamic_defaults_say_so():
    assert default_dynamic_qconfig.activation().is_dynamic
    assert default_dynamic_qconfig.activation().dtype == qtensor.quint8
    assert qobserve.per_channel_dynamic_qconfig.weight().qscheme.per_channel
    table = qobserve.float_qparams_weight_only_qconfig
    assert table.activation().dtype == torch.float32
    assert table.weight().qscheme == qtensor.per_channel_affine_float_qparams


class TestMapping:
    def filled(self):
        return (
            QConfigMapping()
            .set_global(default_qconfig)
            .set_object_type(nn.Linear, None)
            .set_object_type("add", default_qconfig)
            .set_module_name_regex("blocks.*", default_dynamic_qconfig)
            .set_module_name("head", None)
            .set_module_name_object_type_order("head", nn.Linear, 1, default_qconfig)
        )

    def test_each_setting_has_its_place(self):
        mapping = self.filled()
        assert mapping.global_qconfig is default_qconfig
        assert mapping.object_type_qconfigs == {nn.Linear: None, "add": default_qconfig}
        assert mapping.module_name_regex_qconfigs == {"blocks.*": default_dynamic_qconfig}
        assert mapping.module_name_qconfigs == {"head": None}
        assert mapping.module_name_object_type_order_qconfigs == {
            ("head", nn.Linear, 1): default_qconfig
        }

    def test_the_last_setting_counts(self):
        mapping = self.filled().set_object_type(nn.Linear, default_qconfig)
        assert mapping.object_type_qconfigs[nn.Linear] is default_qconfig

    def test_an_empty_one_leaves_everything_float(self):
        assert QConfigMapping().global_qconfig is None

    def test_dictionaries_round_trip(self):
        as_dict = self.filled().to_dict()
        assert as_dict[""] is default_qconfig
        assert as_dict["module_name"] == [("head", None)]
        assert QConfigMapping.from_dict(as_dict).to_dict() == as_dict

    def test_an_unknown_key(self):
        with pytest.raises(ValueError, match="unknown key 'module_names'; expected '' or one of"):
            QConfigMapping.from_dict({"module_names": []})

    def test_it_shows_what_it_holds(self):
        shown = repr(self.filled())
        assert "global: QConfig(" in shown
        assert "head: None" in shown


def test_the_old_qconfig_of_dynamic_quantization():
    qconfig = QConfigDynamic(weight=MinMaxObserver)
    assert qconfig == (nn.Identity, MinMaxObserver)
    with pytest.raises(ValueError, match="expected weight to be an observer class"):
        QConfigDynamic(weight=MinMaxObserver())


def test_a_transposed_convolution_has_its_output_channels_along_axis_1():
    qconfig, module = get_default_qconfig("x86"), nn.ConvTranspose2d(2, 3, 1)
    with pytest.raises(ValueError, match=r"ConvTranspose2d .* ch_axis=1"):
        assert_valid_qconfig(qconfig, module)
    weight = qconfig.weight.with_args(ch_axis=1)
    for valid in (
        None,
        default_qconfig,
        QConfig(MinMaxObserver, None),
        qconfig._replace(weight=weight),
    ):
        assert_valid_qconfig(valid, module)
    assert_valid_qconfig(qconfig, nn.Conv2d(2, 3, 1))


@pytest.mark.parametrize("given", [MinMaxObserver, "x86", MinMaxObserver.with_args(quant_max=127)])
def test_mappings_take_qconfigs_only(given):
    mapping = QConfigMapping()
    setters = (
        mapping.set_global,
        lambda qconfig: mapping.set_object_type(nn.Linear, qconfig),
        lambda qconfig: mapping.set_module_name_regex(".*", qconfig),
        lambda qconfig: mapping.set_module_name("head", qconfig),
        lambda qconfig: mapping.set_module_name_object_type_order("", nn.Linear, 0, qconfig),
    )
    for setter in setters:
        with pytest.raises(TypeError, match=r"expected a QConfig, .* or None .*, got"):
            setter(given)
        setter(None)
