"""Plots of the report as inline SVG with bytes that depend on the numbers alone."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

STYLE: Any = {"svg.hashsalt": "retrieval", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def precision_recall(path: Path) -> str:
    """Curves of a plots/BENCHMARK.csv."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            recall, precision = curves.setdefault(row["setting"], ([], []))
            recall.append(float(row["recall"]))
            precision.append(float(row["precision"]))

    def draw(axes: Any) -> None:
        for setting, (recall, precision) in curves.items():
            axes.plot(recall, precision, label=setting)
        axes.set(xlabel="recall", ylabel="interpolated precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)

    return svg(draw, (4.6, 3.2))


def per_query(rows: list[dict[str, str]]) -> str:
    """Average precision of every query, sorted, one line per setting."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))

    def draw(axes: Any) -> None:
        for setting in settings:
            values = sorted((float(row["ap"]) for row in rows if row["setting"] == setting), reverse=True)
            axes.step([(index + 0.5) / len(values) for index in range(len(values))], values, where="mid", label=setting)
        axes.set(xlabel="share of the queries", ylabel="average precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)

    return svg(draw, (4.6, 3.2))


def svg(draw: Callable[[Any], None], size: tuple[float, float]) -> str:
    """What `draw` puts on a fresh axes, of `size` in inches."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
