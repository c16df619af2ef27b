"""Charts as SVG, by matplotlib where it is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

COLOURS: Final = {
    "ram9": "#d1495b",
    "ram9, cache=none": "#d1495b",
    "ram9, cache=mmap": "#e9a0a9",
    "diod": "#30638e",
    "diod, cache=none": "#30638e",
    "diod, cache=mmap": "#8fb4d0",
    "responder": "#b0b0b0",
    "tmpfs": "#b0b0b0",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or the bars of one colour; *x* is a number or, for bars, a label."""

    label: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: *name* is that of its file, without the ending."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    kind: Literal["bars", "lines"] = "bars"
    x_is_log: bool = False


def draw(chart: Chart, folder: Path) -> Path | None:
    """Write the chart into *folder*; None if matplotlib is not there."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        return None
    # The same figures give the same file, and text stays text.
    with mpl.rc_context({"svg.hashsalt": chart.name, "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.add_subplot()
        (_bars if chart.kind == "bars" else _lines)(axes, chart)
        axes.set_title(chart.title)
        axes.set_xlabel(chart.x_label)
        axes.set_ylabel(chart.y_label)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        path = folder / f"{chart.name}.svg"
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")
    return path


def _bars(axes: Any, chart: Chart) -> None:
    labels = list(dict.fromkeys(str(x) for series in chart.series for x in series.x))
    width = 0.8 / max(1, len(chart.series))
    for number, series in enumerate(chart.series):
        places = [labels.index(str(x)) + (number + 0.5) * width - 0.4 for x in series.x]
        heights = [y or 0.0 for y in series.y]
        axes.bar(places, heights, width, label=series.label, color=COLOURS.get(series.label))
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right", rotation_mode="anchor")


def _lines(axes: Any, chart: Chart) -> None:
    for series in chart.series:
        points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker="o" if len(points) < 20 else None,
            label=series.label,
            color=COLOURS.get(series.label),
        )
    if chart.x_is_log:
        axes.set_xscale("log")
