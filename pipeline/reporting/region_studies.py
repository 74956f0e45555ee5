"""Study of regions on the page: how precise they are, and what clusters look like."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw

from pipeline.reporting.figures import svg
from pipeline.reporting.thumbnails import jpeg_address, laid_over
from pipeline.stage.tables import read_json

COLUMNS = {"norms": "l2 norm", "clusters": "clusters", "spatial_clusters": "with a spatial term"}
FRAME = (9, 105, 218)


@dataclass(frozen=True)
class RegionPage:
    """What the regions of one benchmark's queries look like.

    Attributes:
        queries: compared; 0 where none has a box.
        curves: SVG of the share of regions over the precision that they reach (paper 2, fig. 4).
        pictures: for each query its id and, by caption, `data:` addresses (figs. 5 to 7).
    """

    queries: int
    curves: str
    pictures: list[tuple[str, dict[str, str]]]


def region_page(path: Path) -> RegionPage:
    """The study of reports/regions/BENCHMARK.json."""
    content = read_json(path)
    if not content["queries"]:
        return RegionPage(0, "", [])

    def draw(axes: Any) -> None:
        for way, values in content["ways"].items():
            axes.plot(content["thresholds"], [100 * share for share in values["reached"]], label=f"{way}, mean {values['mean']:.2f}")
        axes.set(xlabel="precision of a region, at least", ylabel="% of the regions", xlim=(0, 1), ylim=(0, 102))
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    curves = svg(draw, (6.6, 3.2), f"Precision of regions of {path.stem}")
    return RegionPage(content["queries"], curves, [(picture["image_id"], _pictures(picture)) for picture in content["pictures"]])


def _pictures(picture: dict[str, Any]) -> dict[str, str]:
    with Image.open(io.BytesIO(base64.b64decode(picture["jpeg"]))) as encoded:
        photograph = encoded.convert("RGB")
    pixels = {"norms": mpl.colormaps["viridis"](np.array(picture["norms"]))[..., :3]}
    pixels |= {name: mpl.colormaps["tab20"](np.array(picture[name]) % 20)[..., :3] for name in ("clusters", "spatial_clusters")}
    drawn = {COLUMNS[name]: jpeg_address(laid_over(photograph, values, smooth=name == "norms")) for name, values in pixels.items()}
    for number, values in picture["components"].items():
        drawn[f"component {number}"] = jpeg_address(laid_over(photograph, mpl.colormaps["viridis"](np.array(values))[..., :3], smooth=True))
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(picture["box"], photograph.size * 2, strict=True))
    ImageDraw.Draw(photograph).rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=FRAME, width=2)
    return {picture["image_id"]: jpeg_address(photograph)} | drawn
