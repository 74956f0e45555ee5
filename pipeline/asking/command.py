"""The command `retrieval ask`: photographs in, replies out, one after the other."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.asking.finding import find_collection
from pipeline.asking.photographs import named_photographs, opened
from pipeline.asking.printing import Write, as_json, as_pictures, as_table, csv_writer, page_writer, sheet_writer
from pipeline.asking.staleness import differing
from pipeline.contracts.running.progress import Progress
from pipeline.search.photo import Photo
from pipeline.stage.errors import ImageError, ParameterError, PipelineError
from pipeline.stage.parameters import PARAMS_FILE

if TYPE_CHECKING:
    from pipeline.search.collection import Collection

FORMATS = ("table", "json", "csv", "show")
WORTH_PROGRESS = 20
"""Photographs from which on progress is shown."""


def ask(
    names: Sequence[str],
    collection: str = "",
    *,
    box: Sequence[float] | None = None,
    top: int = 10,
    forms: Sequence[str] = (),
    files: Sequence[Path] = (),
    addresses: bool = False,
) -> int:
    """Answer every photograph; returns how many could not be read, each of which is told in a line on standard error.

    Args:
        names: files, folders, `-` for standard input, addresses.
        collection: a name under data/collection, or a folder; the only one where none is named.
        forms: at most one of FORMATS, on standard output; a table where none is named.
        files: .html and .png files to write as well.

    Raises:
        PipelineError: no such collection, or what is asked for is impossible.
    """
    if len(forms) > 1:
        raise ParameterError(f"--{forms[0]} and --{forms[1]}: choose one")
    form = forms[0] if forms else "table"
    if top < 1:
        raise ParameterError(f"--top: {top} results; ask for 1 at least")
    photographs = named_photographs(names, addresses=addresses)
    if box is not None and len(photographs) > 1:
        raise ParameterError(f"--box belongs to one photograph, and {len(photographs)} are named")
    folder = find_collection(collection)
    from pipeline.search.collection import Collection  # and torch with it, which takes seconds

    opened_collection = Collection.open(folder)
    _tell_differences(opened_collection)
    unreadable: list[str] = []

    def tell(photo: Photo, error: ImageError) -> None:
        unreadable.append(str(photo))
        print(f"error: {error}", file=sys.stderr)

    with ExitStack() as stack:
        writers = [stack.enter_context(writer) for writer in (_printed(form), *(_written(file, opened_collection) for file in files))]
        progress = stack.enter_context(Progress("ask", len(photographs), "photographs")) if len(photographs) >= WORTH_PROGRESS else None
        for reply in opened_collection.ask_all(opened(photographs), box, top, broken=tell):
            for write in writers:
                write(reply)
            if progress:
                progress.advance()
    return len(unreadable)


def _tell_differences(collection: "Collection") -> None:
    """One line where params.yaml has changed since; a collection that was copied elsewhere has none."""
    if not PARAMS_FILE.exists():
        return
    try:
        paths = differing(collection.version)
    except PipelineError as error:
        paths = [str(error)]
    if paths:
        name = collection.facts.benchmark
        print(f"{name}: made with other parameters than params.yaml has now ({', '.join(paths)}); see `retrieval plan`", file=sys.stderr)


def _printed(form: str) -> AbstractContextManager[Write]:
    match form:
        case "table":
            return nullcontext(as_table)
        case "json":
            return nullcontext(as_json)
        case "show":
            return nullcontext(as_pictures)
        case "csv":
            return csv_writer()
        case _:
            raise ParameterError(f"the form {form!r} is unknown; there are: {', '.join(FORMATS)}")


def _written(file: Path, collection: "Collection") -> AbstractContextManager[Write]:
    match file.suffix.lower():
        case ".html":
            return page_writer(file, f"Asked of {collection.facts.benchmark}")
        case ".png":
            return sheet_writer(file)
        case _:
            raise ParameterError(f"{file}: name a file that ends in .html or .png")
