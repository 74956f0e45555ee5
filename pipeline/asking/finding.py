"""Which collections there are, and which one a name means."""

from pathlib import Path

from pipeline.contracts.collections import POINTER
from pipeline.stage import places
from pipeline.stage.errors import ParameterError


def every_collection() -> dict[str, Path]:
    """The folders under data/collection by the names of their benchmarks, in alphabetical order.

    Raises:
        ParameterError: there is none.
    """
    known = known_collections()
    if not known:
        raise ParameterError(f"{places.COLLECTIONS}: no collection yet; make it with `retrieval repro`")
    return known


def find_collection(name: str) -> Path:
    """The folder of a collection, by its benchmark's name or by its path; the only one where no name is given.

    Raises:
        ParameterError: there is none, or there are several.
    """
    if name:
        return named_collection(name)
    known = every_collection()
    if len(known) > 1:
        raise ParameterError(f"--collection: name one of {', '.join(known)}")
    return next(iter(known.values()))


def named_collection(name: str) -> Path:
    """The folder that a name means: of a benchmark's collection, or any folder.

    Raises:
        ParameterError: there is none.
    """
    known = known_collections()
    if name in known:
        return known[name]
    if Path(name).is_dir():
        return Path(name)
    raise no_such_collection(name)


def no_such_collection(name: str) -> ParameterError:
    """The error that names the collections that there are."""
    return ParameterError(f"{name}: no such collection; there are: {', '.join(known_collections()) or 'none, make one with `retrieval repro`'}")


def known_collections() -> dict[str, Path]:
    """As `every_collection`; none where there is none."""
    return {path.parent.name: path.parent for path in sorted(places.COLLECTIONS.glob(f"*/{POINTER}"))}
