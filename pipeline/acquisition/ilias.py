"""ILIAS: 4,715 photographs of 1,000 objects in the wild, asked for by 1,232 clean photographs of them (Kordopatis-Zilos et al., CVPR 2025).

`ilias` holds queries and positives; `ilias_distractors` the five million photographs of mini-ILIAS, among which they are found. Every photograph
says where its object is. The publishers describe queries whole: `query_boxes` gives them their boxes, which `resize.query_crop` then uses.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from pydantic import Field

from pipeline.acquisition.archives import members
from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.object_boxes import around, boxes_in
from pipeline.acquisition.sources import Dataset, DatasetParameters, Photograph, truth_from_instances
from pipeline.downloads.remote_file import RemoteFile, download_again
from pipeline.stage.catalogue import Box, CatalogueRow, GroundTruth
from pipeline.stage.checksums import verify_checksum
from pipeline.stage.errors import SourceError

ADDRESS = "https://vrg.fel.cvut.cz/ilias_data"
CORE, CHECKSUMS = (RemoteFile(f"{ADDRESS}/{name}", name) for name in ("ilias_core.tar", "checksums.txt"))
ROLES = {"pos": "database", "query": "query"}
"""By the folder of an object that a photograph lies in."""
BOX_SUFFIX = "_bbox.txt"
SHARDS = 45
SHARD = "mini_ilias_yfcc100m-{:06d}.tar"
SHARDS_ADDRESS = "https://huggingface.co/datasets/vrg-prague/ilias/resolve/main"


class IliasParameters(DatasetParameters):
    query_boxes: bool = Field(False, description="whether queries have boxes; the publishers describe them whole")


class Ilias(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = IliasParameters
    title = "ILIAS: 1,000 objects of all kinds; its five million distractors are ilias_distractors"
    images, queries, megabytes = 5947, 1232, 400

    def files(self) -> tuple[RemoteFile, ...]:
        return CHECKSUMS, CORE

    @property
    def catalogued(self) -> int:
        return self.images - self.queries

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        archive = raw / CORE.name
        verify_checksum(archive, f"sha256:{_published(raw / CHECKSUMS.name)}", str(archive))
        assert isinstance(self.parameters, IliasParameters)
        boxes = _boxes(archive)
        for path, data in images_of([archive]):
            thing, folder, name = _place(archive, path)
            image_id = f"{thing}/{folder}/{PurePosixPath(name).stem}"
            if image_id not in boxes:
                raise SourceError(f"{archive}: {path}: no {BOX_SUFFIX} next to it")
            role = ROLES[folder]
            box = boxes[image_id] if role == "database" or self.parameters.query_boxes else None
            yield Photograph(image_id, path, data, role, thing, box)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows, "ilias")


class IliasDistractorsParameters(DatasetParameters):
    archives: int = Field(SHARDS, ge=1, le=SHARDS, description="how many of the 45 archives, about 111,000 photographs and 7 GB each")


class IliasDistractors(Dataset):
    Parameters: ClassVar[type[DatasetParameters]] = IliasDistractorsParameters
    title = "Mini-ILIAS: five million photographs of YFCC100M as distractors"
    images, queries, megabytes = 5000000, 0, 315000

    def files(self) -> tuple[RemoteFile, ...]:
        assert isinstance(self.parameters, IliasDistractorsParameters)
        names = (SHARD.format(number) for number in range(self.parameters.archives))
        return tuple(RemoteFile(f"{SHARDS_ADDRESS}/{name}", name) for name in names)

    @property
    def download_megabytes(self) -> int | None:
        return self.megabytes and self.megabytes * len(self.files()) // SHARDS

    @property
    def catalogued(self) -> int | None:
        return None  # the publishers say it of all archives together, about

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for path, data in images_of(raw / file.name for file in self.files()):
            yield Photograph(f"yfcc100m/{PurePosixPath(path).with_suffix('')}", path, data, role="distractor")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return GroundTruth("ilias", (), ())


def _published(path: Path) -> str:
    """The archive's SHA-256, from lines `digest address`.

    Raises:
        SourceError: no line is its.
    """
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, address = line.partition(" ")
        if PurePosixPath(address.strip()).name == CORE.name:
            return digest
    raise SourceError(f"{path}: no checksum of {CORE.name} in it; {download_again(path)}")


def _place(archive: Path, path: str) -> tuple[str, str, str]:
    """Object, folder and name.

    Raises:
        SourceError: it lies in no such folder.
    """
    parts = PurePosixPath(path).parts
    if len(parts) < 3 or parts[-2] not in ROLES:
        raise SourceError(f"{archive}: {path}: expected OBJECT/{' or OBJECT/'.join(ROLES)} to hold it")
    return parts[-3], parts[-2], parts[-1]


def _boxes(archive: Path) -> dict[str, Box]:
    """By photograph, the smallest box around all boxes of its object."""
    files = ((path, content) for path, content in members(archive) if path.endswith(BOX_SUFFIX))
    return {"/".join(_place(archive, path)).removesuffix(BOX_SUFFIX): around(boxes_in(archive, path, content)) for path, content in files}
