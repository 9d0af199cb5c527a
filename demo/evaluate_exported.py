"""Run two exported classifiers in a process that imports torch and qtensor and nothing more.

    python -m demo.evaluate_exported FLOAT.pt2 INT8.pt2 HELD_OUT.pt RESULT.json

The held-out file is a dictionary of ``images`` (count, 1, 8, 8) and ``latency_images``. The
result is a JSON object with both models' logits and seconds per batch.
"""

import json
import sys
from pathlib import Path

import torch

import qtensor  # noqa: F401  # registers the operators that the saved program calls

NOT_NEEDED = ("qobserve", "qgraph", "qbackends", "qflow", "sklearn", "transformers", "rich")


def main(float_path: str, int8_path: str, data_path: str, result_path: str) -> None:
    """Evaluate both files on the data and write the result as JSON."""
    data = torch.load(data_path, weights_only=True)
    models = {
        "float": torch.export.load(float_path).module(),
        "int8": torch.export.load(int8_path).module(),
    }
    with torch.inference_mode():
        logits = {name: model(data["images"]).tolist() for name, model in models.items()}
    imported = [name for name in NOT_NEEDED if name in sys.modules]
    if imported:
        raise SystemExit(f"a saved model should need torch and qtensor only; loaded: {imported}")

    # The stopwatch is no part of a deployment, so it comes after the check.
    from quintet_testing.bench import compare, threads

    batch = data["latency_images"]
    with torch.inference_mode(), threads(1):
        seconds = compare(
            {name: lambda model=model: model(batch) for name, model in models.items()}, seconds=3
        )
    Path(result_path).write_text(json.dumps({"logits": logits, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
