"""The custom configs and their legacy dictionaries."""

import pytest
from torch import nn

from qgraph import ConvertCustomConfig, FuseCustomConfig, PrepareCustomConfig, QuantType
from qobserve import QConfigMapping


def test_prepare_config_survives_a_dictionary() -> None:
    config = (
        PrepareCustomConfig()
        .set_standalone_module_name("a", QConfigMapping(), (1,), None, None)
        .set_standalone_module_class(nn.Tanh, None, (2,), PrepareCustomConfig(), None)
        .set_float_to_observed_mapping(nn.Linear, nn.Bilinear)
        .set_non_traceable_module_names(["b"])
        .set_non_traceable_module_classes([nn.GRU])
        .set_input_quantized_indexes([0])
        .set_output_quantized_indexes([1])
        .set_preserved_attributes(["c"])
    )
    legacy = config.to_dict()
    assert legacy["float_to_observed_custom_module_class"] == {"static": {nn.Linear: nn.Bilinear}}
    assert legacy["non_traceable_module_name"] == ["b"]
    again = PrepareCustomConfig.from_dict(legacy)
    assert again.standalone_module_names["a"].example_inputs == (1,)
    assert isinstance(again.standalone_module_names["a"].qconfig_mapping, QConfigMapping)
    assert again.float_to_observed_mapping == {QuantType.STATIC: {nn.Linear: nn.Bilinear}}
    assert again.output_quantized_indexes == [1]


def test_one_name_needs_no_list() -> None:
    config = PrepareCustomConfig.from_dict({"non_traceable_module_name": "encoder"})
    assert config.non_traceable_module_names == ["encoder"]


def test_convert_config_survives_a_dictionary() -> None:
    config = ConvertCustomConfig().set_observed_to_quantized_mapping(
        nn.Linear, nn.Bilinear, QuantType.DYNAMIC
    )
    legacy = config.to_dict()
    assert legacy == {"observed_to_quantized_custom_module_class": {"dynamic": {
        nn.Linear: nn.Bilinear}}}  # fmt: skip
    assert ConvertCustomConfig.from_dict(legacy).to_dict() == legacy


def test_only_static_modules_are_observed() -> None:
    with pytest.raises(ValueError, match="STATIC"):
        PrepareCustomConfig().set_float_to_observed_mapping(nn.Linear, nn.Linear, QuantType.DYNAMIC)


@pytest.mark.parametrize("kind", [PrepareCustomConfig, ConvertCustomConfig, FuseCustomConfig])
def test_unknown_keys_are_refused(kind: type) -> None:
    with pytest.raises(ValueError, match=r"non_tracable.*|expected the keys"):
        kind.from_dict({"non_tracable_module_name": []})


def test_unknown_quantization_types_are_refused() -> None:
    with pytest.raises(ValueError, match="'weight_only'"):
        QuantType.from_key("statik")
