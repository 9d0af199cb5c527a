"""Dynamic quantization of a transformer that cannot be traced: modules are swapped."""

import pytest
import torch
from torch import nn

import qflow

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def encoder() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=211,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
    )
    return transformers.BertModel(config).eval()


@pytest.fixture(scope="module")
def tokens() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(3, 24, dtype=torch.int64)
    mask[1, 9:] = 0
    return {
        "input_ids": torch.randint(0, 211, (3, 24), generator=generator),
        "attention_mask": mask,
    }


def test_one_call_leaves_no_linear_or_table_in_float(
    encoder: nn.Module, tokens: dict[str, torch.Tensor]
) -> None:
    quantized, report = qflow.quantize_model(encoder, [tokens], mode="dynamic")
    kinds = {type(module) for module in quantized.modules()}
    assert nn.Linear not in kinds and nn.Embedding not in kinds
    assert {type(m) for m in encoder.modules()} >= {nn.Linear, nn.Embedding}
    assert report["embeddings.word_embeddings"].weight.startswith("quint8")
    assert report["encoder.layer.1.output.dense"].weight == "qint8 per channel"
    assert report["encoder.layer.0.output.LayerNorm"].why == "x86 has no dynamic form of LayerNorm"
    assert report.bytes_after < 0.35 * report.bytes_before
    assert all(row.sqnr is None or row.sqnr > 25 for row in report)


@pytest.mark.parametrize("mode", ["dynamic", "weight_only"])
def test_the_output_stays_close(
    mode: str, encoder: nn.Module, tokens: dict[str, torch.Tensor]
) -> None:
    quantized, _ = qflow.quantize_model(encoder, mode=mode)
    with torch.inference_mode():
        expected = encoder(**tokens).last_hidden_state
        actual = quantized(**tokens).last_hidden_state
    assert torch.cosine_similarity(expected, actual, dim=-1).min() > 0.99
