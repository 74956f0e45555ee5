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

from pipeline.acquisition.packing import Packed, PackedDataset
from pipeline.acquisition.sources import DatasetParameters, truth_from_instances
from pipeline.contracts.running.settings import settings
from pipeline.contracts.running.turns import processor_turn
from pipeline.stage.catalogue import CatalogueRow, GroundTruth


class GalleryParameters(DatasetParameters):
    seed: int = Field(0, ge=0)
    instances: int = Field(64, ge=2, le=64, description="pictures of the benchmark")
    references: int = Field(4, ge=1, le=100, description="database photographs of each")
    queries: int = Field(2, ge=1, le=100, description="query photographs of each")
    held_out: int = Field(10, ge=1, le=1000, description="photographs of each of the 32 held-out pictures")


class Gallery(PackedDataset):
    Parameters: ClassVar[type[DatasetParameters]] = GalleryParameters
    title = "Embedded museum: photographs of pictures that installed packages ship"
    images, queries = 384, 128

    def paths(self) -> list[str]:
        self._entries = {f"{role}/{name}/{number}.jpg": (role, index, name, number) for role, index, name, number in self._plan()}
        return list(self._entries)

    def packed(self, paths: list[str]) -> Iterator[Packed]:
        with processor_turn(), ThreadPoolExecutor(settings().threads) as pool:
            yield from pool.map(self._photograph, paths)

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
        return plan

    def _photograph(self, path: str) -> Packed:
        from PIL import Image

        from pipeline.acquisition.gallery_rooms import Dice, photograph

        assert isinstance(self.parameters, GalleryParameters)
        role, index, name, number = self._entries[path]
        dice = Dice(self.parameters.seed, ("database", "query", "held_out").index(role), index, number)
        photo = photograph(self._pictures["held_out" if role == "held_out" else "benchmark"][name], dice)
        encoded = io.BytesIO()
        Image.fromarray(photo.pixels).save(encoded, "JPEG", quality=dice.whole(60, 96))
        box = " ".join(f"{value:g}" for value in photo.box) if role != "held_out" else ""
        record = {"id": path.removesuffix(".jpg"), "path": path, "instance": name, "role": role, "box": box}
        return path, encoded.getvalue(), [record]

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)
