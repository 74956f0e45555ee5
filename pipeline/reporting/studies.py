"""Studies on the page: sweeps as tables and curves, masks as bars and pictures, the online time per image."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from pipeline.contracts.tables import read_json
from pipeline.reporting.figures import svg
from pipeline.reporting.rows import read_rows
from pipeline.reporting.thumbnails import jpeg_address

T = TypeVar("T")
LABELS = {"max": "MAX", "sum": "SUM", "sift": "SIFT", "none": "none"}
TINT = np.array([9, 105, 218])
LABEL_ROOM = 36
"""Characters of tick labels that fit beside each other."""


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


@dataclass(frozen=True)
class MaskPage:
    """What the masks of one benchmark keep.

    Attributes:
        bars: SVG of the shares of features kept and of near-orthogonal pairs (paper 3, fig. 3).
        histograms: SVG of the cosines between kept features (fig. 2).
        pictures: for each image its id and one `data:` address per mask, the locations kept tinted (fig. 2).
    """

    summary: dict[str, Any]
    bars: str
    histograms: str
    pictures: list[tuple[str, dict[str, str]]]


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
        for place in _distinct(tuple(row[other] for other in others) for row in measured):
            own = [row for row in measured if tuple(row[other] for other in others) == place]
            figures.append(_curves(own, figure["x"], figure["lines"], " · ".join(place)))
    return SweepPage(name, content["title"], content["commit"], content["headings"], rows, figures)


def _curves(rows: list[dict[str, str]], x: str, lines: str | None, title: str) -> str:
    """mAP over the labels of one axis, one colour per label of another, joined where the labels are numbers; published numbers as hollow marks."""
    ticks = _distinct(row[x] for row in rows)
    joined = "-" if all(tick.replace(".", "", 1).isdigit() for tick in ticks) else ""

    def draw(axes: Any) -> None:
        hollow = {"linestyle": "", "marker": "o", "markerfacecolor": "none"}
        for label in _distinct(row[lines] if lines else "measured" for row in rows):
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


def mask_page(path: Path, pictures: dict[str, bytes], side: int) -> MaskPage:
    """The study of reports/masks/BENCHMARK.json with the stored images of its pictures."""
    content = read_json(path)
    masks: dict[str, dict[str, Any]] = {mask: content["masks"][mask] for mask in LABELS if mask in content["masks"]}
    limit = content["near_orthogonal_limit"]

    def bars(axes: Any) -> None:
        places = np.arange(len(masks))
        axes.bar(places - 0.2, [100 * each["kept"] for each in masks.values()], 0.4, label="features kept")
        axes.bar(places + 0.2, [100 * each["near_orthogonal"] for each in masks.values()], 0.4, label=f"pairs with |cos| ≤ {limit:g}")
        axes.set(ylabel="%", xticks=places, xticklabels=[LABELS[mask] for mask in masks], ylim=(0, 105))
        axes.legend(frameon=False)

    def histograms(axes: Any) -> None:
        for mask, each in masks.items():
            edges = np.linspace(-1, 1, len(each["histogram"]) + 1)
            axes.stairs(each["histogram"], edges, label=LABELS[mask])
        axes.set(xlabel="cosine between two kept features", ylabel="share of the pairs")
        axes.legend(frameon=False)

    shown = [
        (item["image_id"], {mask: tinted(pictures[item["image_id"]], item["masks"][mask], side) for mask in masks})
        for item in content["pictures"]
        if item["image_id"] in pictures
    ]
    drawn = (
        svg(bars, (4.6, 3.2), f"Features that each mask keeps of {path.stem}"),
        svg(histograms, (4.6, 3.2), f"Cosines of kept features of {path.stem}"),
    )
    return MaskPage(content, *drawn, shown)


def shown_in_masks(path: Path) -> set[str]:
    """Ids of the images that the study shows."""
    return {item["image_id"] for item in read_json(path)["pictures"]}


def tinted(encoded: bytes, rows: list[str], side: int) -> str:
    """A `data:` address of the image with the kept locations ('#' in the rows of the map) tinted and the others faded."""
    with Image.open(io.BytesIO(encoded)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side))
    kept = Image.fromarray(np.array([[255 * (cell == "#") for cell in row] for row in rows], np.uint8))
    mask = np.asarray(kept.resize(small.size, Image.Resampling.NEAREST))[..., None] > 0
    pixels = np.asarray(small).astype(np.float64)
    mixed = np.where(mask, 0.65 * pixels + 0.35 * TINT, 0.35 * pixels + 0.65 * 255)
    return jpeg_address(Image.fromarray(mixed.round().astype(np.uint8)))


def online_times(path: Path) -> list[str]:
    """Stacked bars of reports/online_time.csv, one SVG per length of the descriptor: system, step, milliseconds (paper 3, fig. 7)."""
    rows = read_rows(path, "`python -m bench.online_time`")
    return [_bars([row for row in rows if row["dimensions"] == length], length) for length in _distinct(row["dimensions"] for row in rows)]


def _bars(rows: list[dict[str, str]], length: str) -> str:
    systems = _distinct(row["system"] for row in rows)

    def draw(axes: Any) -> None:
        left = np.zeros(len(systems))
        for step in _distinct(row["step"] for row in rows):
            times = {row["system"]: float(row["milliseconds"]) for row in rows if row["step"] == step}
            widths = np.array([times.get(system, 0.0) for system in systems])
            axes.barh(systems, widths, left=left, label=step)
            left += widths
        axes.set(xlabel="milliseconds per image", title=f"{length} dimensions")
        axes.invert_yaxis()
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, (5.6, 2.4), f"Online time per image at {length} dimensions")


def _distinct(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
