"""The empty data set: what a benchmark names that has no distractors."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.acquisition.sources import Dataset, Photograph
from pipeline.stage.catalogue import CatalogueRow, GroundTruth


class Nothing(Dataset):
    title = "The empty set, for benchmarks without distractors"
    images = queries = 0

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        return iter(())

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return GroundTruth("instances", (), ())
