"""Collections that a service answers from while the stages make the next: handed over whole, once their results are accepted."""

from pathlib import Path

from pipeline.contracts.collections import POINTER, current_version, hand_over
from pipeline.stage import places


def hand_over_collections(root: Path, target: Path) -> str:
    """Make the version in use of every collection of a checkout that of TARGET/BENCHMARK as well; says which were new there."""
    found = [path.parent for path in sorted((root / places.COLLECTIONS).glob(f"*/{POINTER}"))]
    handed = [folder.name for folder in found if hand_over(current_version(folder), target / folder.name)]
    return f"{target}: {', '.join(handed) or 'nothing new'}"
