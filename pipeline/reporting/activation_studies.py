"""Class activations and training curves on the page."""

import base64
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from pipeline.reporting.figures import svg
from pipeline.reporting.thumbnails import jpeg_address, laid_over
from pipeline.stage.tables import read_json
from pipeline.stage.text_tables import read_rows

NAMED = 4
"""Labels of a picture that its caption names, the most frequent first."""
LINES = {"loss": "loss", "active": "share still to learn", "map": "mAP of validation", "p_at_1": "P@1 of validation", "spread": "spread"}


@dataclass(frozen=True)
class ActivationPage:
    """Where the classifier responded (paper 4, fig. 3.1).

    Attributes:
        network: whose classifier it is.
        pictures: for each photograph its id and, by caption, `data:` addresses: the photograph, heat map, label map.
    """

    network: str
    pictures: list[tuple[str, dict[str, str]]]


def activation_page(path: Path) -> ActivationPage:
    """The study of reports/activations/BENCHMARK.json."""
    content = read_json(path)
    return ActivationPage(content["network"], [(picture["image_id"], _pictures(picture)) for picture in content["pictures"]])


def training_curves(folder: Path) -> dict[str, str]:
    """By step of training an SVG of its curve, from reports/training/NAME.csv."""
    return {path.stem: _curve(path) for path in sorted(folder.glob("*.csv"))}


def _pictures(picture: dict[str, Any]) -> dict[str, str]:
    with Image.open(io.BytesIO(base64.b64decode(picture["jpeg"]))) as encoded:
        photograph = encoded.convert("RGB")
    heat, labels = np.array(picture["heat"]), np.array(picture["labels"])
    span = max(float(np.ptp(heat)), 1e-12)
    colours = mpl.colormaps["tab20"](labels % 20)[..., :3]
    counts = Counter(str(label) for label in labels.flatten().tolist() if label >= 0)
    named = ", ".join(picture["names"][label] for label, _ in counts.most_common(NAMED))
    shown = picture["instance"] or picture["image_id"]
    return {
        f"{shown}": jpeg_address(photograph),
        f"maximal activation, {heat.min():.1f} to {heat.max():.1f}": jpeg_address(
            laid_over(photograph, mpl.colormaps["viridis"]((heat - heat.min()) / span)[..., :3], smooth=True)
        ),
        f"its class where above the mean: {named}": jpeg_address(laid_over(photograph, colours, smooth=False, shown=labels >= 0)),
    }


def _curve(path: Path) -> str:
    rows = read_rows(path, "`dvc repro`")

    def draw(axes: Any) -> None:
        for column, label in LINES.items():
            points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
        axes.set(xlabel="epoch")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, (6.2, 3.2), f"Training of {path.stem}")
