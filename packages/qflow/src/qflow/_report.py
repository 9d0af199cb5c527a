"""What quantization did to each layer, as text, rich table, dictionary or plot."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Group


@dataclass(frozen=True)
class LayerReport:
    """What became of one layer.

    Attributes:
        name: where it lies in the float model, such as ``"layer1.0.conv1"``.
        was: its float type, such as ``"Conv2d"``.
        became: its type now; ``"float"`` if nothing changed.
        why: the reason, in words.
        weight: dtype and scheme of the quantized weight, such as ``"qint8 per channel"``; empty
            without one.
        bytes_before, bytes_after: parameters and buffers of the layer itself.
        sqnr: how far the layer's output in the quantized model lies from that in the float model,
            both fed the same data: 10·log10(Σ float² / Σ (float - quantized)²), in decibels. More
            is better; at 20 the error is a tenth of the signal. Errors of earlier layers count.
            ``None`` where it was not measured.
    """

    name: str
    was: str
    became: str
    why: str
    weight: str = ""
    bytes_before: int = 0
    bytes_after: int = 0
    sqnr: float | None = None

    @property
    def quantized(self) -> bool:
        """Whether the layer is no longer float."""
        return self.became != "float"

    def cells(self) -> tuple[str, ...]:
        """The row as a table shows it, one string for each of ``Report.COLUMNS``."""
        size = f"{self.bytes_before:,} → {self.bytes_after:,}" if self.bytes_before else ""
        sqnr = "" if self.sqnr is None else f"{self.sqnr:.1f}"
        return (self.name, self.was, self.became, self.weight, size, sqnr, self.why)


@dataclass(frozen=True)
class Report:
    """One row per layer, and what else a reader must know.

    Iterating gives the rows. ``print(report)`` is a plain table; ``rich.print(report)`` one with
    colours.

    Attributes:
        rows: in the order of the float model.
        notes: what concerns the whole model, such as the flow that was used instead of the one
            asked for.

    Example:
        >>> from qflow import LayerReport, Report
        >>> report = Report((LayerReport("fc", "Linear", "float", "skipped"),), ("a note",))
        >>> print(report)
        layer  float type  became  weight  bytes  SQNR dB  why
        fc     Linear      float                           skipped
        total                              0 → 0           0 of 1 layers quantized
        note: a note
    """

    rows: tuple[LayerReport, ...]
    notes: tuple[str, ...] = ()

    COLUMNS: ClassVar = ("layer", "float type", "became", "weight", "bytes", "SQNR dB", "why")

    def __iter__(self) -> Iterator[LayerReport]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> LayerReport:
        """The row of the layer called ``name``; ``KeyError`` if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no layer {name!r}; there are {[row.name for row in self.rows]}")

    @property
    def bytes_before(self) -> int:
        """Parameters and buffers of all layers in the float model."""
        return sum(row.bytes_before for row in self.rows)

    @property
    def bytes_after(self) -> int:
        """Parameters and buffers of all layers in the quantized model."""
        return sum(row.bytes_after for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers, as JSON wants them."""
        return {"rows": [asdict(row) for row in self.rows], "notes": list(self.notes)}

    def __str__(self) -> str:
        table = [self.COLUMNS, *(row.cells() for row in self.rows), self._total()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
        return "\n".join((*lines, *(f"note: {note}" for note in self.notes)))

    def __rich__(self) -> "Group":
        from rich.box import SIMPLE
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(show_footer=True, box=SIMPLE, padding=(0, 1, 0, 0))
        for title, total in zip(self.COLUMNS, self._total(), strict=True):
            right = title in ("bytes", "SQNR dB")
            table.add_column(
                title,
                total,
                justify="right" if right else "left",
                min_width={"weight": 11, "bytes": 9, "SQNR dB": 5}.get(title),
                no_wrap=title == "layer",
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*map(Text, row.cells()), style="" if row.quantized else "dim")
        return Group(table, *(Text(f"note: {note}", style="yellow") for note in self.notes))

    def _total(self) -> tuple[str, ...]:
        quantized = sum(row.quantized for row in self.rows)
        size = f"{self.bytes_before:,} → {self.bytes_after:,}"
        return ("total", "", "", "", size, "", f"{quantized} of {len(self.rows)} layers quantized")

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw each layer's error as a horizontal bar.

        Args:
            axes: what to draw on; by default the axes of a new figure.

        Returns:
            The axes drawn on.

        Raises:
            ImportError: without matplotlib (``pip install "quintet-qflow[report]"``).
            ValueError: no layer's error was measured.
        """
        measured = [
            (row.name, row.sqnr)
            for row in self.rows
            if row.sqnr is not None and math.isfinite(row.sqnr)
        ]
        if not measured:
            raise ValueError(
                "no error was measured; quantize_model measures it when it is given data"
            )
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                'Report.plot needs matplotlib: pip install "quintet-qflow[report]"'
            ) from error
        if axes is None:
            figure_size = (8, 1.5 + 0.28 * len(measured))
            axes = pyplot.subplots(figsize=figure_size, layout="constrained")[1]
        names, decibels = zip(*measured, strict=True)
        axes.barh(names, decibels)
        axes.invert_yaxis()  # the first layer on top
        axes.set(xlabel="SQNR against float, dB (more is better)", title="error after each layer")
        return axes
