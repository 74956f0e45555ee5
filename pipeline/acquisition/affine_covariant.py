"""Affine Covariant Regions: eight scenes, six photographs of each under growing changes (Mikolajczyk et al., IJCV 2005); paper 1's fig. 4."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.archives import members
from pipeline.acquisition.sources import Dataset, Photograph, truth_from_instances
from pipeline.downloads.remote_file import RemoteFile
from pipeline.stage.catalogue import CatalogueRow, GroundTruth

SCENES = ("bark", "bikes", "boat", "graf", "leuven", "trees", "ubc", "wall")
PLACE = "https://www.robots.ox.ac.uk/~vgg/research/affine/det_eval_files"
FILES = tuple(RemoteFile(f"{PLACE}/{scene}.tar.gz", f"{scene}.tar.gz") for scene in SCENES)


class AffineCovariant(Dataset):
    title = "Affine Covariant Regions: eight scenes, six photographs each"
    images, queries, megabytes = 48, 48, 46

    def files(self) -> tuple[RemoteFile, ...]:
        return FILES

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        for scene, file in zip(SCENES, FILES, strict=True):
            for path, data in members(raw / file.name):
                if path.lower().endswith((".ppm", ".pgm")):
                    yield Photograph(f"{scene}/{PurePosixPath(path).stem}", path, data, instance=scene)

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows)
