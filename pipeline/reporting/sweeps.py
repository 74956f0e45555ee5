"""Sweeps on the page: tables of measured and published numbers, and curves of mAP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.reporting.figures import distinct, svg
from pipeline.stage.tables import read_json

LABEL_ROOM = 36
"""Characters of tick labels that fit in one line."""


@dataclass(frozen=True)
class SweepPage:
    """One sweep of reports/sweeps.

    Attributes:
        commit: that its cells ran on.
        figures: SVG, one per benchmark, database and combination of the other axes, where the sweep's file asks for a figure.
    """

    name: str
    title: str
    commit: str
    headings: list[str]
    rows: list[dict[str, str]]
    figures: list[str]

    @property
    def benchmarks(self) -> set[str]:
        """Benchmarks that its cells are of."""
        return {row["benchmark"] for row in self.rows if row.get("benchmark")}


def sweep_pages(folder: Path) -> list[SweepPage]:
    """Every sweep whose table lies in the folder, by name."""
    return [_sweep_page(path.stem, read_json(path)) for path in sorted(folder.glob("*.json"))]


def _sweep_page(name: str, content: dict[str, Any]) -> SweepPage:
    rows: list[dict[str, str]] = content["rows"]
    figure = content["figure"]
    figures = []
    if figure:
        drawn = {figure["x"], figure["lines"]}
        others = [axis for axis in content["axes"] if axis not in drawn] + ["benchmark", "database"]
        measured = [row for row in rows if row["mAP"]]
        for place in distinct(tuple(row[other] for other in others) for row in measured):
            own = [row for row in measured if tuple(row[other] for other in others) == place]
            figures.append(_curves(own, figure["x"], figure["lines"], " · ".join(place)))
    return SweepPage(name, content["title"], content["commit"], content["headings"], rows, figures)


def _curves(rows: list[dict[str, str]], x: str, lines: str | None, title: str) -> str:
    """mAP over the labels of one axis, one colour per label of another, joined where the labels are numbers; published numbers as hollow marks."""
    ticks = distinct(row[x] for row in rows)
    joined = "-" if all(tick.replace(".", "", 1).isdigit() for tick in ticks) else ""

    def draw(axes: Any) -> None:
        hollow = {"linestyle": "", "marker": "o", "markerfacecolor": "none"}
        for label in distinct(row[lines] if lines else "measured" for row in rows):
            own = [row for row in rows if not lines or row[lines] == label]
            places = [ticks.index(row[x]) for row in own]
            (drawn,) = axes.plot(places, [float(row["mAP"]) for row in own], linestyle=joined, marker="o", label=label)
            printed = [(place, float(row["published"].split(";")[0])) for place, row in zip(places, own, strict=True) if row["published"]]
            if printed:
                axes.plot(*zip(*printed, strict=True), color=drawn.get_color(), **hollow)
        if any(row["published"] for row in rows):
            axes.plot([], [], color="#5b6470", label="published", **hollow)
        axes.set(xlabel=x, ylabel="mAP", title=title, xlim=(-0.5, len(ticks) - 0.5))
        slanted = sum(map(len, ticks)) > LABEL_ROOM
        axes.set_xticks(range(len(ticks)), ticks, rotation=30 if slanted else 0, ha="right" if slanted else "center")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, (5.6, 3.2), f"mAP over {x}, {title}")
