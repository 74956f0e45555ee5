"""The study of masks on the page: what each mask keeps, as bars, histograms and pictures."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.reporting.figures import svg
from pipeline.reporting.thumbnails import jpeg_address
from pipeline.stage.tables import read_json

LABELS = {"max": "MAX", "sum": "SUM", "sift": "SIFT", "none": "none"}
TINT = np.array([9, 105, 218])


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
