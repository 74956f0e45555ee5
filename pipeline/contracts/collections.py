"""The folder that answers questions: data/collection/BENCHMARK/VERSION, complete in itself, and the pointer to the version in use.

A version's name is the fingerprint of its bytes. It appears whole, then the pointer turns to it, then older versions go: who asks meanwhile
gets the old one or the new one, and a writer that dies leaves the old one. A version that somebody holds stays until it is let go, and goes when
the next one is written. Several writers may work at a time: each holds its own folder, and removes those alone that nobody holds.
"""

import fcntl
import shutil
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from pipeline.contracts.descriptors import DescriptorFacts
from pipeline.contracts.running.held_folder import held_folder
from pipeline.contracts.running.scratch import link_or_copy
from pipeline.stage.checksums import MANIFEST, verify
from pipeline.stage.errors import PipelineError, ShardError
from pipeline.stage.manifest import Facts, Manifest, describe_parts, load_manifest
from pipeline.stage.tables import open_table, read_json, write_json

KIND = "collection"
POINTER = "current.json"
ROWS, SHORTLIST_ROWS = "rows.npy", "shortlist_rows.npy"
INDEX, LISTS = "index.faiss", "index.lists"
"""The second holds the inverted lists of an index that is too large to be put together in memory."""
CATALOGUE, THUMBNAILS, CALIBRATION, REMOVED = "catalogue.parquet", "thumbnails.parquet", "calibration.json", "removed.json"
"""The last, where it is there, names images that were taken out since the version was made: their rows stay, and are no answer."""
MOST_REMOVED = 1000
"""Each question looks at as many rows more."""
NETWORK, MODEL, HASHER, IMAGES, FEATURES, LOCAL_FEATURES = "network", "model", "hasher", "images", "features", "local_features"
"""Folders of a version: copies of what the stages made."""
Opened = TypeVar("Opened")


class IndexFacts(BaseModel):
    """How candidates are found.

    Attributes:
        kind: of the index; `flat` compares every row.
        candidates: first results of an index that is not flat whose rows are compared again, exactly.
        loss: what that costs against comparing every row: `recall_1`, `recall_10` and `recall_100`, the shares of the exact first results that
            are found, `map` and `exact_map`, of the benchmark's queries; empty for an exact index.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["flat", "hnsw", "ivf_pq", "scalar", "multi_index"]
    candidates: int
    loss: dict[str, float]


class CollectionFacts(Facts):
    """Of a version.

    Attributes:
        images: that can be found.
        described: how they were described.
        hashed: the method that made codes of the descriptors; None where the rows are descriptors.
        search: the parameters of the benchmark's search that decide numbers.
    """

    benchmark: str
    dataset: str
    images: int
    described: DescriptorFacts
    hashed: str | None
    search: dict[str, Any]
    index: IndexFacts


@dataclass(frozen=True)
class Version:
    """A version's folder and what it says of itself."""

    folder: Path
    facts: CollectionFacts


def new_version(collection: Path) -> AbstractContextManager[Path]:
    """A folder to write a version into, gone when the block ends; `publish` makes a version of it before."""
    return held_folder(collection)


def publish(staging: Path, collection: Path, facts: CollectionFacts) -> Version:
    """Make what was written the version in use, and remove all others that nobody holds."""
    names = sorted(path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file())
    manifest = Manifest(KIND, describe_parts(staging, names), facts.model_dump(mode="json"))
    manifest.save(staging)
    return Version(_put_to_use(staging, collection, manifest.fingerprint), facts)


def hand_over(version: Version, collection: Path) -> bool:
    """Make a version the one in use of another folder as well, for a service that shall not follow the stages; returns whether it was not yet.

    Its files are linked where both lie on one file system, else copied.
    """
    if (collection / POINTER).exists() and version_in_use(collection) == version.folder.name:
        return False
    with new_version(collection) as staging:
        link_version(version, staging)
        _put_to_use(staging, collection, version.folder.name)
    return True


def link_version(version: Version, target: Path) -> Version:
    """The same version in another folder, whose files are linked where both lie on one file system, else copied."""
    shutil.copytree(version.folder, target, dirs_exist_ok=True, copy_function=_own_manifest)
    return Version(target, version.facts)


def removed_images(version: Path) -> set[str]:
    """Ids of the images that were taken out of a version."""
    if not (version / REMOVED).exists():
        return set()
    verify(version / REMOVED)
    return set(read_json(version / REMOVED)["image_ids"])


def take_out(collection: Path, image_ids: Collection[str]) -> int:
    """Make a version in which images are found no more, without making rows or index again; returns how many it had.

    Raises:
        PipelineError: more than MOST_REMOVED would be out, which makes every question slower.
    """
    before = current_version(collection)
    gone = removed_images(before.folder)
    table = open_table(before.folder / CATALOGUE, "catalogue").read(columns=["image_id"])
    found = set(table.filter(pc.is_in(table["image_id"], pa.array(sorted(image_ids), pa.string())))["image_id"].to_pylist()) - gone
    if not found:
        return 0
    if len(gone | found) > MOST_REMOVED:
        raise PipelineError(f"{collection}: more than {MOST_REMOVED} images would be taken out; `retrieval repro` makes it without them")
    with new_version(collection) as staging:
        link_version(before, staging)
        write_json(staging / REMOVED, {"image_ids": sorted(gone | found)})
        kept = [part for part in load_manifest(before.folder, KIND).parts if part.name != REMOVED]
        facts = before.facts.model_copy(update={"images": before.facts.images - len(found)})
        parts = sorted([*kept, *describe_parts(staging, [REMOVED])], key=lambda part: part.name)
        manifest = Manifest(KIND, tuple(parts), facts.model_dump(mode="json"))
        manifest.save(staging)
        _put_to_use(staging, collection, manifest.fingerprint)
    return len(found)


def _own_manifest(source: str, target: str) -> None:
    """The manifest is always a file of its own: who holds one version must not hold the other (`hold_version`)."""
    if Path(source).name == MANIFEST:
        shutil.copyfile(source, target)
        return
    link_or_copy(Path(source), Path(target))


def _put_to_use(staging: Path, collection: Path, name: str) -> Path:
    """Give a whole version its name, turn the pointer to it, and remove all others that nobody holds."""
    version = collection / name
    if not version.exists():
        staging.rename(version)
    write_json(collection / POINTER, {"version": name})
    for other in collection.iterdir():
        if other.is_dir() and other.name != name and not other.name.startswith("."):  # the folders of writers are hidden
            _remove_unless_held(other)
    return version


def hold_version(folder: Path) -> BinaryIO:
    """Keep a version's folder while the file that is returned is open.

    Raises:
        ShardError: the folder is gone, or goes just now.
    """
    try:
        stream = (folder / MANIFEST).open("rb")
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise ShardError(f"{folder}: this version of the collection is being replaced ({error.strerror}); open the collection again") from None
    return stream


def _remove_unless_held(folder: Path) -> None:
    try:
        with (folder / MANIFEST).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except FileNotFoundError:
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return  # somebody answers from it


def current_version(collection: Path) -> Version:
    """The version in use.

    Raises:
        ShardError: there is none, or it is damaged or of another version of the project.
    """
    return _version(collection, version_in_use(collection))


def version_in_use(collection: Path) -> str:
    """The name of the version in use.

    Raises:
        ShardError: there is none.
    """
    if not (collection / POINTER).exists():
        raise ShardError(f"{collection}: no collection; make it with `retrieval repro collection@{collection.name}`")
    return str(read_json(collection / POINTER).get("version"))


def _version(collection: Path, name: str) -> Version:
    return Version(collection / name, CollectionFacts.of(load_manifest(collection / name, KIND)))


def open_version(collection: Path, opened: Callable[[Version], Opened]) -> Opened:
    """What a function opens of the version in use, or of a folder that is a version itself; once more whenever it is replaced meanwhile."""
    if is_version(collection):
        return opened(Version(collection, CollectionFacts.of(load_manifest(collection, KIND))))
    while True:
        name = version_in_use(collection)
        try:
            return opened(_version(collection, name))
        except (PipelineError, OSError):
            if version_in_use(collection) == name:
                raise


def copy_folder(source: Path, target: Path, only: Collection[str] = ()) -> None:
    """Copy a stage's output, or the named files of it."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file() and (not only or path.name in only):
            shutil.copyfile(path, target / path.name)


def new_rows(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Rows to be filled in, mapped to a file."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def map_rows(path: Path) -> npt.NDArray[Any]:
    """Rows of a file, read when they are looked at.

    Raises:
        ShardError: missing, or not the bytes that were written.
    """
    verify(path)
    try:
        rows: npt.NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ShardError(f"{path}: not readable rows ({error}); make the collection again") from None
    return rows


def is_version(folder: Path) -> bool:
    """Whether a folder is a version itself, as one that was copied elsewhere is."""
    return (folder / MANIFEST).exists() and (folder / ROWS).exists()
