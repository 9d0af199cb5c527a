"""The schema: rows, dtypes, their dictionaries, and looking rows up."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qgraph import (
    BackendConfig,
    BackendPatternConfig,
    DTypeConfig,
    DTypeWithConstraints,
    ObservationType,
    QuantType,
    Rows,
)
from qgraph._observer_spec import ObserverSpec
from qobserve import FixedQParamsObserver, MinMaxObserver, PlaceholderObserver
from qtensor import qint8, quint8


def test_setters_chain_and_rows_survive_a_dictionary() -> None:
    row = (
        BackendPatternConfig(nn.Linear)
        .set_observation_type(ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT)
        .set_dtype_configs([DTypeConfig(quint8, quint8, qint8, torch.float32)])
        .set_root_module(nn.Linear)
        .set_spellings(F.linear)
    )
    copy = BackendPatternConfig.from_dict(row.to_dict())
    assert copy.to_dict() == row.to_dict()
    assert copy.spellings == (nn.Linear, F.linear)
    assert copy.dtype_configs == row.dtype_configs


def test_legacy_dictionary_keys() -> None:
    row = BackendPatternConfig.from_dict(
        {
            "pattern": nn.Linear,
            "observation_type": ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT,
            "dtype_configs": [{"input_dtype": quint8, "is_dynamic": True}],
            "root_module": nn.Linear,
            "reference_quantized_module_for_root": nn.Bilinear,
        }
    )
    assert row.reference_quantized_module is nn.Bilinear
    assert row.dtype_configs[0].quant_type is QuantType.DYNAMIC
    assert row.to_dict()["reference_quantized_module_for_root"] is nn.Bilinear


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        BackendPatternConfig.from_dict({"colour": "red"})
    with pytest.raises(ValueError, match="colour"):
        DTypeConfig.from_dict({"colour": "red"})
    with pytest.raises(ValueError, match="colour"):
        BackendConfig.from_dict({"colour": "red"})


def test_a_row_without_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="pattern"):
        BackendConfig("b").set_backend_pattern_config(BackendPatternConfig())


def test_a_later_row_replaces_one_of_the_same_pattern() -> None:
    first, second = BackendPatternConfig(nn.ReLU), BackendPatternConfig(nn.ReLU)
    backend = BackendConfig("b").set_backend_pattern_configs([first, second])
    assert backend.configs == [second]
    assert BackendConfig.from_dict(backend.to_dict()).name == "b"


def test_every_spelling_finds_the_row_and_sequences_know_them_all() -> None:
    relu = BackendPatternConfig(nn.ReLU).set_spellings(F.relu, "relu")
    pair = BackendPatternConfig((operator.add, F.relu))
    rows = Rows(BackendConfig("b").set_backend_pattern_configs([relu, pair]))
    assert rows.find(nn.ReLU) is rows.find(F.relu) is rows.find("relu") is relu
    assert rows.find(nn.Tanh) is None
    # The sequence was written with F.relu, and is found by the canonical pattern.
    assert rows.sequence((operator.add, nn.ReLU)) is pair
    assert rows.begins_sequence((operator.add,)) and not rows.begins_sequence((nn.ReLU,))


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DTypeConfig(quint8, quint8, qint8), QuantType.STATIC),
        (DTypeConfig(), QuantType.STATIC),
        (DTypeConfig(quint8, torch.float32, qint8, is_dynamic=True), QuantType.DYNAMIC),
        (DTypeConfig(torch.float32, torch.float32, quint8), QuantType.WEIGHT_ONLY),
    ],
)
def test_dtypes_say_how_an_operator_is_quantized(config: DTypeConfig, kind: QuantType) -> None:
    assert config.quant_type is kind


@pytest.mark.parametrize(
    ("constraint", "refusal"),
    [
        (DTypeWithConstraints(), None),
        (DTypeWithConstraints(quint8), None),
        (DTypeWithConstraints(qint8), "quint8"),
        (DTypeWithConstraints(quint8, quant_max_upper_bound=127), "quant_max 255"),
        (DTypeWithConstraints(quint8, quant_min_lower_bound=1), "quant_min 0"),
        (DTypeWithConstraints(quint8, scale_min_lower_bound=2**-12), "eps"),
        (DTypeWithConstraints(quint8, scale_exact_match=0.5), "scale None"),
    ],
)
def test_constraints_refuse_with_a_reason(
    constraint: DTypeWithConstraints, refusal: str | None
) -> None:
    given = constraint.refusal(ObserverSpec.of(MinMaxObserver))
    assert (given is None) if refusal is None else (given is not None and refusal in given)


def test_what_an_observer_says_before_it_has_seen_anything() -> None:
    fixed = ObserverSpec.of(FixedQParamsObserver.with_args(scale=0.5, zero_point=3))
    assert (fixed.scale, fixed.zero_point) == (0.5, 3)
    assert ObserverSpec.of(MinMaxObserver).scale is None
    dynamic = PlaceholderObserver.with_args(dtype=quint8, is_dynamic=True)
    assert ObserverSpec.of(dynamic).quant_type is QuantType.DYNAMIC
    assert ObserverSpec.of(PlaceholderObserver).quant_type is QuantType.WEIGHT_ONLY
    assert ObserverSpec.of(None).quant_type is QuantType.WEIGHT_ONLY


def test_observation_by_the_number_of_tensors() -> None:
    row = BackendPatternConfig(operator.sub)
    own = ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT
    shared = ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT
    assert row.observation_type_of(1) is row.observation_type_of(2) is own
    row.set_num_tensor_args_to_observation_type({1: shared, 2: own})
    assert row.observation_type_of(1) is shared and row.observation_type_of(2) is own
    assert row.observation_type_of(0) is None
    again = BackendPatternConfig.from_dict(row.to_dict())
    assert again.num_tensor_args_to_observation_type == {1: shared, 2: own}


@pytest.mark.parametrize(
    ("low", "high", "bounds", "scale", "zero_point"),
    [
        (0.0, 1.0, (0, 255), 1 / 256, 0),
        (-1.0, 1.0, (0, 255), 1 / 128, 128),
        (-1.0, 1.0, (0, 127), 1 / 64, 64),
        (0.0, 1.0, (-128, 127), 1 / 256, -128),
    ],
)
def test_parameters_of_a_known_range(
    low: float, high: float, bounds: tuple[int, int], scale: float, zero_point: int
) -> None:
    dtype = quint8 if bounds[0] == 0 else qint8
    row = BackendPatternConfig(nn.Sigmoid)
    assert row.fixed_qparams(dtype, *bounds) is None
    qparams = row.set_fixed_range(low, high).fixed_qparams(dtype, *bounds)
    assert qparams is not None and qparams.dtype is dtype
    assert (qparams.scale, qparams.zero_point) == (scale, zero_point)
    assert (qparams.quant_min, qparams.quant_max) == bounds
