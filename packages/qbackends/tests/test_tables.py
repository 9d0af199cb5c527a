"""The tables: what they list, how the backends differ, and what derives from them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qbackends
from qgraph import BackendPatternConfig, Decision, Rows, plan_of, prepare
from qobserve import QConfigMapping, get_default_qconfig
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

BACKENDS = ["native", "x86", "fbgemm", "onednn", "qnnpack"]


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_by_name(name: str) -> None:
    backend = qbackends.get_backend_config(name)
    assert backend.name == name
    assert qbackends.get_backend_config(backend) is backend


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ValueError, match="among native, x86, fbgemm, onednn, qnnpack, got 'x68'"):
        qbackends.get_backend_config("x68")


def test_one_row_per_operator() -> None:
    backend = qbackends.get_native_backend_config()
    single = [row for row in backend.configs if not isinstance(row.pattern, tuple)]
    written = [spelling for row in single for spelling in row.spellings]
    assert len(written) == len(set(written))


def test_one_operator_fuses_as_another_unless_a_sequence_names_it() -> None:
    backend = qbackends.get_native_backend_config()
    sequence = (nn.Linear, nn.ReLU6)
    assert Rows(backend).sequence(sequence).fused_module is nni.LinearHardtanh
    backend.set_backend_pattern_config(BackendPatternConfig(sequence).set_fused_module(nn.Identity))
    rows = Rows(backend)
    assert rows.sequence(sequence).fused_module is nn.Identity
    assert rows.sequence((nn.Linear, nn.Hardtanh)).fused_module is nni.LinearHardtanh


def test_a_change_to_one_config_changes_no_other() -> None:
    backend = qbackends.get_x86_backend_config()
    for row in backend.configs:
        row.set_dtype_configs([]).set_quantized_module(nn.Identity)
    assert qbackends.static_module_mapping("x86")[nn.Linear] is nnq.Linear


@pytest.mark.parametrize("name", BACKENDS)
def test_every_weighted_row_is_complete(name: str) -> None:
    for row in qbackends.get_backend_config(name).configs:
        if row.reference_quantized_module is not None:
            assert row.dtype_configs
            assert row.quantized_module or row.weight_only_module
        if isinstance(row.pattern, tuple):
            assert row.fused_module or row.fused_function or row.fuser_method


def test_module_mappings() -> None:
    static = qbackends.static_module_mapping()
    assert static[nn.Conv2d] is nnq.Conv2d
    assert static[nni.ConvAddReLU2d] is nni.quantized.ConvAddReLU2d
    dynamic = qbackends.dynamic_module_mapping("fbgemm")
    # What was trained is converted as its float form is.
    for kind in (nn.Linear, nnqat.Linear):
        assert dynamic[kind] is nnq.dynamic.Linear
    for kind in (nni.LinearReLU, nniqat.LinearReLU):
        assert dynamic[kind] is nni.quantized.dynamic.LinearReLU
    for kind in (nn.Conv3d, nnqat.Conv3d):
        assert dynamic[kind] is nnq.dynamic.Conv3d
    assert dynamic[nni.ConvReLU2d] is nni.quantized.dynamic.ConvReLU2d
    assert nni.ConvAdd2d not in dynamic
    tables = dict.fromkeys((nn.Embedding, nnqat.Embedding), nnq.Embedding)
    tables |= dict.fromkeys((nn.EmbeddingBag, nnqat.EmbeddingBag), nnq.EmbeddingBag)
    assert qbackends.table_module_mapping() == tables
    layers = dict.fromkeys((nn.Linear, nnqat.Linear), nnq.weight_only.Linear)
    assert qbackends.weight_only_module_mapping() == layers | tables
    trained = qbackends.qat_module_mapping()
    assert trained[nni.ConvBnReLU2d] is nniqat.ConvBnReLU2d
    assert static[nniqat.ConvBnReLU2d] is nni.quantized.ConvReLU2d


def test_support_matrix() -> None:
    header, *rows = qbackends.support_matrix("fbgemm")
    assert header[0] == "operator" and all(len(row) == len(header) for row in rows)
    linear = next(row for row in rows if row[0] == "nn.Linear")
    assert linear[1] == "F.linear"
    assert linear[2] == "quint8 0 … 127 × qint8, qint8 -64 … 63 × qint8"
    assert linear[3] == "quint8 × qint8"


@pytest.mark.parametrize("spelling", [nn.ReLU, F.relu, torch.relu, "relu"])
def test_spellings(spelling: object) -> None:
    row = Rows(qbackends.get_x86_backend_config()).find(spelling)
    assert row is not None and row.pattern is nn.ReLU


@pytest.mark.parametrize(
    ("backend", "qconfig", "decision"),
    [
        ("x86", "x86", Decision.STATIC),
        ("x86", "fbgemm", Decision.STATIC),
        ("fbgemm", "fbgemm", Decision.STATIC),
        ("fbgemm", "x86", Decision.FLOAT),
    ],
)
def test_fbgemm_takes_seven_bits_only(backend: str, qconfig: str, decision: Decision) -> None:
    mapping = QConfigMapping().set_global(get_default_qconfig(qconfig))
    prepared = prepare(
        nn.Sequential(nn.Linear(4, 4)).eval(),
        mapping,
        (torch.randn(1, 4),),
        backend_config=qbackends.get_backend_config(backend),
    )
    (node,) = plan_of(prepared).operators()
    assert node.decision is decision
    assert decision is Decision.STATIC or "quant_max 255 where the bound is 127" in node.why
