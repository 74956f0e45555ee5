"""Study of patches on the page: similarity of changed views."""

from pathlib import Path
from typing import Any

from pipeline.reporting.figures import svg
from pipeline.stage.tables import read_json

PANELS = (("scale", "scales", "side of the view, in sides of the square"), ("shift", "shifts", "shift of the view, in sides of the square"))


def patch_similarity(path: Path) -> list[str]:
    """Two SVG of reports/patch_similarity/BENCHMARK.json: similarity over scale and over shift, one line per way of searching (paper 1, fig. 4).

    Bands are the standard error; a dotted line is the similarity of unrelated squares. None where no square was compared.
    """
    content = read_json(path)
    return [_panel(content, *panel, path.stem) for panel in PANELS] if content["squares"] else []


def _panel(content: dict[str, Any], kind: str, places: str, label: str, name: str) -> str:
    def draw(axes: Any) -> None:
        for variant, own in content["variants"].items():
            (line,) = axes.plot(content[places], own[kind], marker="o", label=variant)
            below, above = ([value + sign * error for value, error in zip(own[kind], own[f"{kind}_error"], strict=True)] for sign in (-1, 1))
            axes.fill_between(content[places], below, above, color=line.get_color(), alpha=0.15, linewidth=0)
            axes.axhline(own["unrelated"], color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(xlabel=label, ylabel="similarity")
        if kind == "scale":
            axes.set_xscale("log")
            axes.set_xticks(content[places], [f"{place:g}" for place in content[places]])
            axes.minorticks_off()
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, (5.6, 3.2), f"Similarity of changed views over {kind}, {name}")
