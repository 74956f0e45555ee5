"""The photographs of a data set that are the same, in lines for people and as a page."""

from pathlib import Path

from pipeline.duplicates.page import render
from pipeline.duplicates.pairs import find_pairs
from pipeline.stage.tables import replacing


def list_duplicates(dataset: str, html: Path | None, *, scenes: bool) -> list[str]:
    """A line per pair and one that counts them.

    Args:
        html: page to write as well.
        scenes: whether the same scene is looked for as well.
    """
    pairs = find_pairs(dataset, scenes=scenes)
    kinds = [pair.kind for pair in pairs]
    if html:
        with replacing(html) as partial:
            partial.write_text(render(dataset, pairs), encoding="utf-8")
    counted = ", ".join(f"{kinds.count(kind)} of kind {kind}" for kind in dict.fromkeys(kinds))
    lines = [f"{pair.kind}\t{pair.first}\t{pair.second}\t{pair.strength:.3f}" for pair in pairs]
    return [*lines, f"{dataset}: {counted or 'no two are the same'}"]
