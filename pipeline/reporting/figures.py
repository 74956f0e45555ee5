"""Plots of the report as inline SVG with bytes that depend on the numbers alone."""

import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import matplotlib as mpl

from pipeline.stage.text_tables import read_rows

mpl.use("svg")
from matplotlib import pyplot as plt

T = TypeVar("T")
STYLE: Any = {"svg.hashsalt": "retrieval", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def precision_recall(path: Path) -> str:
    """Curves of a plots/BENCHMARK.csv."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in read_rows(path):
        recall, precision = curves.setdefault(row["setting"], ([], []))
        recall.append(float(row["recall"]))
        precision.append(float(row["precision"]))

    def draw(axes: Any) -> None:
        for setting, (recall, precision) in curves.items():
            axes.plot(recall, precision, label=setting)
        axes.set(xlabel="recall", ylabel="interpolated precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)

    return svg(draw, (4.6, 3.2), f"Precision and recall of {path.stem}")


def per_query(rows: list[dict[str, str]], name: str) -> str:
    """Average precision of every query of a benchmark, sorted, one line per setting."""
    settings = distinct(row["setting"] for row in rows)

    def draw(axes: Any) -> None:
        for setting in settings:
            values = sorted((float(row["ap"]) for row in rows if row["setting"] == setting), reverse=True)
            axes.step([(index + 0.5) / len(values) for index in range(len(values))], values, where="mid", label=setting)
        axes.set(xlabel="share of the queries", ylabel="average precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(frameon=False)

    return svg(draw, (4.6, 3.2), f"Average precision of the queries of {name}")


def reliability(bins: Sequence[Mapping[str, float]], name: str) -> str:
    """How often answers are right against how sure they are of it; the area of a point is the number of queries."""
    most = max(each["queries"] for each in bins)

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="#8c959f", linewidth=1, linestyle=":")
        sizes = [10 + 110 * each["queries"] / most for each in bins]
        axes.scatter([each["sure"] for each in bins], [each["right"] for each in bins], s=sizes)
        axes.set(xlabel="sure of the instance", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))

    return svg(draw, (3.2, 3.2), f"Reliability of the answers of {name}")


def svg(draw: Callable[[Any], None], size: tuple[float, float], name: str) -> str:
    """What `draw` puts on a fresh axes of `size` inches; `name` is read out by screen readers and keeps the page's ids apart."""
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    used = set(re.findall(r"#([\w.-]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda match: match.group() if match.group(1) in used else "", text)
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(name)}" ', 1)


def distinct(values: Iterable[T]) -> list[T]:
    """Each value once, in the order of the first."""
    return list(dict.fromkeys(values))
