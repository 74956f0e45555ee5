"""Stanford Online Products: 120,053 photographs of 22,634 products that were sold online (Song et al., CVPR 2016).

The test half is the database, each of its photographs asks for the others of its product; the train half, with other products, is the held-out set.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.acquisition.archives import members
from pipeline.acquisition.boxed_benchmark import images_of
from pipeline.acquisition.sources import Dataset, Photograph, truth_from_instances
from pipeline.downloads.remote_file import RemoteFile, download_again
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.errors import SourceError

FILE = RemoteFile(
    "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip", "Stanford_Online_Products.zip", checksum="md5:7f73d41a2f44250d4779881525aea32e"
)
LISTS = {"Ebay_test.txt": "database", "Ebay_train.txt": "held_out"}
"""Roles of the photographs that a list of the archive names."""


class OnlineProducts(Dataset):
    title = "Stanford Online Products: photographs of 22,634 products"
    images, queries, megabytes = 120053, 60502, 2900

    def files(self) -> tuple[RemoteFile, ...]:
        return (FILE,)

    def photographs(self, raw: Path) -> Iterator[Photograph]:
        listed = _listed(raw / FILE.name)
        for path, data in images_of([raw / FILE.name]):
            name = PurePosixPath(path)
            found = listed.pop(f"{name.parent.name}/{name.name}", None)
            if found:
                yield Photograph(name.stem, path, data, *found)
        if listed:
            raise SourceError(f"{raw / FILE.name}: {len(listed)} photographs of its lists are not in it, the first is {min(listed)}")

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        return truth_from_instances(rows, "products")


def _listed(archive: Path) -> dict[str, tuple[str, str]]:
    """Role and product by the photograph's path, from lines `image_id class_id super_class_id path`.

    Raises:
        SourceError: a list is missing, or not such a list.
    """
    found: dict[str, tuple[str, str]] = {}
    missing = set(LISTS)
    for path, content in members(archive):
        if not missing:
            break
        name = PurePosixPath(path).name
        if name in missing:
            missing.remove(name)
            for number, line in enumerate(content.decode("utf-8", "replace").splitlines()[1:], 2):
                cells = line.split()
                if len(cells) != 4:
                    raise SourceError(f"{archive}: {name}, line {number}: expected image_id, class_id, super_class_id and path, got {line!r}")
                found[cells[3]] = LISTS[name], f"product_{int(cells[1]):05d}" if cells[1].isdigit() else cells[1]
    if missing:
        raise SourceError(f"{archive}: no {', '.join(sorted(missing))} in it; {download_again(archive)}")
    return found
