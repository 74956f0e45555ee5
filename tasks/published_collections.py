"""Collections that a service answers from while the stages make the next: handed over whole, once their results are accepted; and without
photographs that were removed, at once."""

from collections.abc import Collection
from pathlib import Path

from pipeline.contracts.collections import POINTER, current_version, hand_over, take_out
from pipeline.stage import places
from pipeline.stage.errors import PipelineError
from pipeline.stage.parameters import read_section
from tasks.settings import flow_settings


def hand_over_collections(root: Path, target: Path) -> str:
    """Make the version in use of the collection of every benchmark of params.yaml that of TARGET/BENCHMARK as well; says which were new there."""
    wanted = read_section("benchmarks", root / "params.yaml") or {}
    found = [path.parent for path in sorted((root / places.COLLECTIONS).glob(f"*/{POINTER}")) if path.parent.name in wanted]
    handed = [folder.name for folder in found if hand_over(current_version(folder), target / folder.name)]
    return f"{target}: {', '.join(handed) or 'nothing new'}"


def take_out_everywhere(root: Path, dataset: str, image_ids: Collection[str]) -> tuple[list[str], list[str]]:
    """Let no collection of a data set find images any more, those that are published included.

    Returns:
        For each that had some, how many; and for each that finds them still, why.
    """
    homes = [root / places.COLLECTIONS, *filter(None, [flow_settings().published])]
    found = [path.parent for home in homes for path in sorted(home.glob(f"*/{POINTER}"))]
    done, failed = [], []
    for folder in found:
        shown = folder.relative_to(root) if folder.is_relative_to(root) else folder
        try:
            if current_version(folder).facts.dataset == dataset and (count := take_out(folder, image_ids)):
                done.append(f"{shown}: {count} photographs are found no more")
        except (PipelineError, OSError) as error:
            failed.append(f"{shown}: finds them still ({error})")
    return done, failed
