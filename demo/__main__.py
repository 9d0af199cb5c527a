"""Quantize two real models, show what came of it, and fail where it is not good enough.

    python -m demo [FOLDER]

The models, their layer-by-layer reports and a plot go to FOLDER, ``demo-output`` by default. Exits
with 1, and says why, if the digits model loses more than 0.5 points, the cosine between an int8 and
a float embedding is below 0.99, an ``nn.Linear`` of the encoder is still float, or int8 is less
than 1.3 times as fast as float.
"""

import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from quintet_testing.bench import machine

from . import digits, sentences

MOST_POINTS_LOST = 0.5
LEAST_COSINE = 0.99
LEAST_SPEEDUP = 1.3


def summary(figures: digits.DigitsResult, encoder: sentences.SentencesResult) -> Table:
    """Both models' measurements, one line each."""
    table = Table(title="float and int8")
    for column in ("", "float", "int8", "int8 against float"):
        table.add_column(column, justify="right" if column else "left")
    accuracy = {name: figures.accuracy(name) for name in ("float", "int8")}
    images = len(figures.labels)
    table.add_row(
        f"digits: accuracy, {digits.FOLDS}-fold, {images} images",
        *(f"{value:.2f} %" for value in accuracy.values()),
        f"{accuracy['int8'] - accuracy['float']:+.2f} points",
    )
    table.add_row("digits: exported program", *_sizes(figures.file_bytes))
    table.add_row(
        f"digits: {digits.LATENCY_BATCH} images, 1 thread",
        *_times(figures.seconds),
        f"{figures.speedup:.2f}x as fast",
        end_section=True,
    )
    shape = f"{len(sentences.SENTENCES)} sentences of {sentences.TOKENS} tokens"
    table.add_row(f"encoder: least cosine, {shape}", "1", f"{encoder.cosine['int8']:.4f}", "")
    table.add_row("encoder: state dict", *_sizes(encoder.file_bytes))
    table.add_row(
        f"encoder: {shape}, 1 thread",
        *_times(encoder.seconds),
        f"{encoder.speedup():.2f}x as fast",
    )
    if "legacy" in encoder.seconds:
        legacy = encoder.seconds["legacy"]
        table.add_row(
            "encoder: torch's deprecated int8 beside it",
            f"cosine {encoder.cosine['legacy']:.4f}",
            f"{1e3 * legacy:.1f} ms",
            f"ours {encoder.speedup('legacy'):.2f}x as fast",
        )
    return table


def _sizes(file_bytes: dict[str, int]) -> tuple[str, str, str]:
    float_bytes, int8_bytes = file_bytes["float"], file_bytes["int8"]
    return (
        f"{float_bytes / 1e6:.2f} MB",
        f"{int8_bytes / 1e6:.2f} MB",
        f"{100 * int8_bytes / float_bytes:.0f} % of the size",
    )


def _times(seconds: dict[str, float]) -> tuple[str, str]:
    return f"{1e3 * seconds['float']:.1f} ms", f"{1e3 * seconds['int8']:.1f} ms"


def failures(figures: digits.DigitsResult, encoder: sentences.SentencesResult) -> list[str]:
    """What is not good enough, in words; empty when all is well."""
    found = []
    lost = figures.accuracy("float") - figures.accuracy("int8")
    if lost > MOST_POINTS_LOST:
        found.append(
            f"digits lost {lost:.2f} points of accuracy, at most {MOST_POINTS_LOST} allowed"
        )
    if encoder.cosine["int8"] < LEAST_COSINE:
        found.append(f"an embedding's cosine is {encoder.cosine['int8']:.4f} < {LEAST_COSINE}")
    if encoder.float_linears:
        found.append(f"still float in the encoder: {', '.join(encoder.float_linears)}")
    for name, speedup in (("digits", figures.speedup), ("encoder", encoder.speedup())):
        if speedup < LEAST_SPEEDUP:
            found.append(
                f"{name}: int8 is {speedup:.2f}x as fast as float, {LEAST_SPEEDUP} expected"
            )
    return found


def main(folder: Path) -> int:
    """Run both demonstrations; the process's exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    # Without a terminal, rich would fold the tables to 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 170)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=digits.STEPS + sentences.STEPS)

        def advance(title: str) -> None:
            progress.update(task, advance=1, description=title)

        figures = digits.run(folder, advance)
        encoder = sentences.run(folder, advance)

    console.rule("digits, layer by layer")
    console.print(figures.report)
    console.print(f"\n{machine()}", highlight=False)
    console.print(summary(figures, encoder))

    digits.plot(figures, folder / "digits.png")
    (folder / "digits_report.txt").write_text(f"{figures.report}\n")
    # The encoder's is too long for a screen.
    (folder / "sentences_report.txt").write_text(f"{encoder.report}\n")
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    console.print(f"written to {folder.resolve()}: {files}", highlight=False, soft_wrap=True)
    found = failures(figures, encoder)
    for failure in found:
        console.print(f"[red]not good enough:[/red] {failure}", highlight=False)
    return 1 if found else 0


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")))
