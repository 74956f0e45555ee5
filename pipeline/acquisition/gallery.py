"""The embedded data set: a museum of pictures that installed packages ship, photographed on its walls.

Benchmark instances and held-out pictures come from different photographs. Bytes depend on the parameters and the
installed packages alone, on no processor.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.packing import ARCHIVE, TABLE, pack, packed_count, packed_photographs, write_records
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph, truth_from_instances
from pipeline.contracts.settings import settings
from pipeline.contracts.turns import processor_turn
from pipeline.stage.catalogue import CatalogueRow, GroundTruth


class GalleryParameters(DatasetParameters):
    seed: int = Field(0, ge=0)
    instances: int = Field(64, ge=2, le=64, description="pictures of the benchmark")
    references: int = Field(4, ge=1, le=100, description="database photographs of each")
    queries: int = Field(2, ge=1, le=100, description="query photographs of each")
    held_out: int = Field(10, ge=1, le=1000, description="photographs of each of the 32 held-out pictures")


class Gallery(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = GalleryParameters
    title = "Embedded museum: photographs of pictures that installed packages ship"
    images, queries = 384, 128

    def make(self, folder: Path) -> list[str]:
        plan = self._plan()
        records: list[dict[str, str]] = []
        pack(folder / ARCHIVE, self._photographs(plan, records))
        write_records(folder / TABLE, records)
        return [ARCHIVE, TABLE]

    def _plan(self) -> list[tuple[str, int, str, int]]:
        """(role, index of the instance, name of the picture, number of the photograph)."""
        from pipeline.acquisition.gallery_pictures import BENCHMARK_PHOTOGRAPHS, HELD_OUT_PHOTOGRAPHS, pictures

        parameters = self.parameters
        assert isinstance(parameters, GalleryParameters)
        self._pictures = {"held_out": pictures(HELD_OUT_PHOTOGRAPHS), "benchmark": pictures(BENCHMARK_PHOTOGRAPHS)}
        plan = []
        for index, name in enumerate(list(self._pictures["benchmark"])[: parameters.instances]):
            plan += [("database", index, name, number) for number in range(parameters.references)]
            plan += [("query", index, name, number) for number in range(parameters.queries)]
        for index, name in enumerate(self._pictures["held_out"]):
            plan += [("held_out", index, name, number) for number in range(parameters.held_out)]
        return sorted(plan)

    def _photographs(self, plan: list[tuple[str, int, str, int]], records: list[dict[str, str]]) -> Iterator[tuple[str, bytes]]:
        from pipeline.contracts.progress import Progress

        with processor_turn(), ThreadPoolExecutor(settings().threads) as pool, Progress("gallery", len(plan), "photographs") as progress:
            for record, data in pool.map(self._photograph, plan):
                records.append(record)
                yield record["path"], data
                progress.advance()

    def _photograph(self, entry: tuple[str, int, str, int]) -> tuple[dict[str, str], bytes]:
        from PIL import Image

        from pipeline.acquisition.gallery_rooms import Dice, photograph

        assert isinstance(self.parameters, GalleryParameters)
        role, index, name, number = entry
        dice = Dice(self.parameters.seed, ("database", "query", "held_out").index(role), index, number)
        photo = photograph(self._pictures["held_out" if role == "held_out" else "benchmark"][name], dice)
        encoded = io.BytesIO()
        Image.fromarray(photo.pixels).save(encoded, "JPEG", quality=dice.whole(60, 96))
        path = f"{role}/{name}/{number}.jpg"
        box = " ".join(f"{value:g}" for value in photo.box) if role == "query" else ""
        record = {"id": path.removesuffix(".jpg"), "path": path, "instance": name, "role": role, "box": box}
        return record, encoded.getvalue()

    def expected(self, raw: Path) -> int:
        return packed_count(raw)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        return packed_photographs(raw)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)
