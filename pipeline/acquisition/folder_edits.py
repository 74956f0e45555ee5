"""Adding photographs to a folder and taking some away, in its own order: sub-folders, or the rows of its list."""

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from pipeline.acquisition.folder import Folder
from pipeline.acquisition.list_edits import append_rows, drop_rows
from pipeline.acquisition.params import load_dataset
from pipeline.acquisition.scanning import ENDINGS, escaped
from pipeline.acquisition.source_scan import look_at, remembered_scan
from pipeline.contracts.running.scratch import link_or_copy
from pipeline.stage.catalogue import ROLES
from pipeline.stage.errors import ParameterError, SourceError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import replacing, write_json

JOURNAL = "ids.json"
"""In the folder of what was taken away: its paths by id, so that a removal that died can be finished."""
REMOVED = ".removed"
"""A hidden folder, which no import looks into: what was taken away waits there."""


def add_photographs(dataset: str, files: Sequence[Path], instance: str = "", role: str = "") -> list[str]:
    """Copy photographs into the folder of a data set; returns their paths there.

    Args:
        instance: what they show: their sub-folder, or the cell of their rows.
        role: one of ROLES; database where none is named.

    Raises:
        ParameterError, SourceError: another source than a folder, files that are no images, or that are there already. Nothing is copied then.
    """
    folder = _folder(dataset)
    if role and role not in ROLES:
        raise ParameterError(f"--role: {role!r} is unknown; there are: {', '.join(ROLES)}")
    _refuse_unsafe(instance)
    listed = folder.list_file
    above = [] if listed else [role] if role else _usual_role(folder)
    top = PurePosixPath(*above, *PurePosixPath(instance).parts)
    if not listed and not above and top.parts and top.parts[0] in ROLES:
        raise ParameterError(
            f"--instance: a folder {top.parts[0]!r} at the top holds photographs of that role; use --role {top.parts[0]}, or another name"
        )
    seen = look_at(folder.root, sorted({record["path"] for record in folder.present}), remembered_scan(dataset))
    present = {digest: path for path, (*_, digest) in seen.items()}
    chosen: dict[str, Path] = {}
    for file in files:
        _refuse_file(file)
        digest = file_sha256(file)
        if digest in present:
            raise SourceError(f"{file}: the data set has it already, as {present[digest]}")
        path = _free_path(folder.root, top, file.name, chosen)
        present[digest], chosen[path] = path, file
    for path, file in chosen.items():
        target = folder.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            shutil.copyfile(file, partial)
    if listed:
        append_rows(listed, list(chosen), instance, role or "database")
    return list(chosen)


def refuse_unknown(dataset: str, image_ids: Sequence[str]) -> None:
    """Check that a data set has photographs, or that they were removed from it before.

    Raises:
        ParameterError, SourceError: another source than a folder, or an id that it does not have.
    """
    folder = _folder(dataset)
    known = {record["id"] for record in folder.present}
    before = _removed_before(folder)
    unknown = [image_id for image_id in image_ids if image_id not in known and image_id not in before and not _was_removed(folder, image_id)]
    if unknown:
        raise SourceError(f"{dataset}: no photograph has the id {unknown[0]!r}; ids are paths in the folder, or the column `id` of its list")


def remove_photographs(dataset: str, image_ids: Sequence[str]) -> Path:
    """Move photographs out of the folder of a data set; returns the hidden folder that keeps them. A removal that died half-way can be repeated.

    Raises:
        ParameterError, SourceError: as `refuse_unknown`. Nothing is moved then.
    """
    refuse_unknown(dataset, image_ids)
    folder, gone = _folder(dataset), set(image_ids)
    records, home = folder.present, folder.root / REMOVED
    kept = {record["path"] for record in records if record["id"] not in gone}
    paths = _removed_before(folder) | {record["id"]: record["path"] for record in records}
    home.mkdir(exist_ok=True)
    write_json(home / JOURNAL, _removed_before(folder) | {image_id: paths[image_id] for image_id in gone if image_id in paths})
    moved = sorted({paths[image_id] for image_id in gone if image_id in paths} - kept)
    moved = [path for path in moved if (folder.root / path).is_file()]
    for path in moved:
        target = home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        link_or_copy(folder.root / path, target)
    if (listed := folder.list_file) and any(record["id"] in gone for record in records):
        drop_rows(listed, gone)  # between the two, as a list names no file that is not there
    for path in moved:
        (folder.root / path).unlink()
    return home


def _removed_before(folder: Folder) -> dict[str, str]:
    """Paths by id of what was taken away, as far as it is written down."""
    try:
        found: dict[str, str] = json.loads((folder.root / REMOVED / JOURNAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _was_removed(folder: Folder, image_id: str) -> bool:
    return ".." not in PurePosixPath(image_id).parts and (folder.root / REMOVED / image_id.lstrip("/")).is_file()


def _folder(dataset: str) -> Folder:
    found = load_dataset(dataset)
    if not isinstance(found, Folder):
        raise ParameterError(f"datasets.{dataset}: its source is {found.parameters.source}; photographs are added to and removed from folders alone")
    return found


def _usual_role(folder: Folder) -> list[str]:
    """The top folder that database photographs lie in: `database` where the folder has one."""
    return ["database"] if (folder.root / "database").is_dir() else []


def _refuse_unsafe(instance: str) -> None:
    parts = PurePosixPath(instance).parts
    if instance and (instance.startswith("/") or any(part in (".", "..") or part.startswith(".") for part in parts)):
        raise ParameterError(f"--instance: {instance!r} is no name of a folder; use letters, digits, blanks and / between folders")


def _refuse_file(file: Path) -> None:
    if not file.is_file():
        raise SourceError(f"{file}: no such file")
    if file.suffix.lower() not in ENDINGS:
        raise SourceError(f"{file}: no photograph by its ending; expected one of {' '.join(sorted(ENDINGS))}")
    if escaped(file.name) != file.name or file.name.startswith("."):
        raise SourceError(f"{escaped(str(file))}: rename it: a hidden name, or one that is not UTF-8, is not imported")


def _free_path(root: Path, top: PurePosixPath, name: str, chosen: Iterable[str]) -> str:
    """A path that no photograph has: NAME, else NAME-2, NAME-3, …; ids of photographs that were removed are not used again."""
    stem, ending = PurePosixPath(name).stem, PurePosixPath(name).suffix
    taken = set(chosen)
    number = 1
    while True:
        path = (top / (name if number == 1 else f"{stem}-{number}{ending}")).as_posix()
        if path not in taken and not (root / path).exists() and not (root / REMOVED / path).exists():
            return path
        number += 1
