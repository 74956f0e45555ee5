"""Ground truth in the Oxford group's text files and in .mat structures, as several benchmarks publish it.

Text files: NAME_query.txt holds one line `image x0 y0 x1 y1`; NAME_good.txt, NAME_ok.txt and NAME_junk.txt hold an image a line.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.acquisition.archives import members
from pipeline.stage.catalogue import Box, GroundTruth
from pipeline.stage.errors import SourceError


@dataclass(frozen=True)
class BoxedQuery:
    """A query: the image it is cut from, its box in pixels (from 0), and the labelled images as (image_id, relevance)."""

    query_id: str
    image_id: str
    box: Box
    labels: tuple[tuple[str, str], ...]


def read_text_files(archive: Path, prefix: str = "") -> list[BoxedQuery]:
    """Queries of an archive of text files, sorted by name.

    Args:
        prefix: what stands before image names in the query files ('oxc1_' for Oxford5k).

    Raises:
        SourceError: a file is missing or malformed.
    """
    texts = {PurePosixPath(name).name: data.decode("ascii", "replace") for name, data in members(archive) if name.endswith(".txt")}
    names = sorted(name.removesuffix("_query.txt") for name in texts if name.endswith("_query.txt"))
    if not names:
        raise SourceError(f"{archive}: no *_query.txt in it; this is not the ground truth")
    return [_text_query(archive, name, texts, prefix) for name in names]


def _text_query(archive: Path, name: str, texts: dict[str, str], prefix: str) -> BoxedQuery:
    try:
        image, *corners = texts[f"{name}_query.txt"].split()
        x0, y0, x1, y1 = (float(value) for value in corners)
        labels = [(line, relevance) for relevance in ("good", "ok", "junk") for line in texts[f"{name}_{relevance}.txt"].split()]
    except (KeyError, ValueError) as error:
        raise SourceError(f"{archive}: the files of query {name} are incomplete or malformed ({error})") from None
    return BoxedQuery(name, image.removeprefix(prefix), (x0, y0, x1, y1), tuple(labels))


def read_mat(path: Path) -> tuple[list[str], list[BoxedQuery]]:
    """(database image ids, queries) of a gnd_*.mat file: fields imlist, gnd with ok/easy/hard/junk (indices from 1) and bbx, and qimlist or qidx.

    Raises:
        SourceError: not such a file.
    """
    import scipy.io

    try:
        content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False, chars_as_strings=True)
        images = [str(name).strip() for name in content["imlist"]]
        queries = [str(name).strip() for name in content["qimlist"]] if "qimlist" in content else [images[index - 1] for index in content["qidx"]]
        return images, [_mat_query(images, query, entry) for query, entry in zip(queries, content["gnd"], strict=True)]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SourceError(f"{path}: not a ground-truth .mat file ({error})") from None


def _mat_query(images: list[str], query: str, entry: Any) -> BoxedQuery:
    labels = [(images[index - 1], relevance) for relevance in ("ok", "easy", "hard", "junk") for index in _indices(getattr(entry, relevance, ()))]
    x0, y0, x1, y1 = (float(value) for value in getattr(entry, "bbx", (0.0, 0.0, 1.0, 1.0)))
    return BoxedQuery(query, query, (x0, y0, x1, y1), tuple(labels))


def _indices(value: Any) -> list[int]:
    import numpy as np

    return [int(index) for index in np.atleast_1d(np.asarray(value)).ravel()]


def truth_of(queries: list[BoxedQuery], protocol: str, present: set[str]) -> GroundTruth:
    """Ground truth of boxed queries; their catalogue rows have the ids that `query_row_id` gives.

    Raises:
        SourceError: a labelled image is not in the catalogue.
    """
    rows = [(query_row_id(query), image_id, relevance) for query in queries for image_id, relevance in query.labels]
    missing = sorted({image_id for _, image_id, _ in rows} - present)
    if missing:
        raise SourceError(f"the ground truth names {len(missing)} images that are not in the data set, the first is {missing[0]}")
    return GroundTruth(protocol, tuple(query_row_id(query) for query in queries), tuple(rows))


def query_row_id(query: BoxedQuery) -> str:
    """The image_id of a query's own catalogue row."""
    return f"query/{query.query_id}"
