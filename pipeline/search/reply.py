"""What a collection answers: the images that it found, which object that is, and how sure that is; as a table, JSON, HTML or pandas."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("photograph", "rank", "score", "image_id", "instance", "path", "x0", "y0", "x1", "y1")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """One image of the collection.

    Attributes:
        rank: from 1.
        score: higher is better.
        instance: what it shows, where that is known.
        path: in its source.
        box: where re-ranking found the object, x0, y0, x1, y1 in shares of the image's sides.
        thumbnail: JPEG bytes; empty where no pictures were asked for.
    """

    rank: int
    image_id: str
    score: float
    instance: str | None
    path: str
    box: Box | None
    thumbnail: bytes


@dataclass(frozen=True)
class Reply:
    """The answer to one photograph.

    Attributes:
        photograph: its name.
        results: best first.
        instance: of the first result that shows a known one.
        known: whether the object is in the collection at all; None where nothing says what unknown objects score in this way: too few were compared,
            re-ranking gives scores of its own, or re-ranking was left out.
        unknown_p: share of unknown photographs that score as high; None where nothing says so.
        sure: probability that the instance is right, given that the object is in the collection; None where nothing says so.
        asked: JPEG bytes of the photograph, as small as the thumbnails; empty where no pictures were asked for.
    """

    photograph: str
    results: tuple[Found, ...]
    instance: str | None
    known: bool | None
    unknown_p: float | None
    sure: float | None
    asked: bytes

    @property
    def verdict(self) -> str:
        """What it is, for people."""
        if self.instance is None:
            return "shows nothing that has a name" if self.results else "nothing found"
        said = [] if self.sure is None else [f"{100 * self.sure:.0f} % sure of the name if it is in the collection"]
        said += [] if self.unknown_p is None else [f"{100 * self.unknown_p:.1f} % of unknown objects score as high"]
        told = f" ({'; '.join(said)})" if said else ""
        match self.known:
            case True:
                return f"{self.instance}{told}"
            case False:
                return f"not in the collection; the nearest is {self.instance}{told}"
            case None:
                return f"{self.instance}{told}; whether it is in the collection is not known: nothing says what unknown objects score here"

    def rows(self) -> Iterator[dict[str, Any]]:
        """A mapping of COLUMNS for each result."""
        for found in self.results:
            box = found.box or (None,) * 4
            values = (self.photograph, found.rank, found.score, found.image_id, found.instance, found.path, *box)
            yield dict(zip(COLUMNS, values, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, without pictures."""
        own = {name: value for name, value in asdict(self).items() if name not in ("results", "asked")}
        return own | {"results": [{name: value for name, value in row.items() if name != "photograph"} for row in self.rows()]}

    def to_pandas(self) -> "pd.DataFrame":
        """One row per result, of COLUMNS."""
        import pandas as pd

        return pd.DataFrame(list(self.rows()), columns=list(COLUMNS))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from pipeline.search.reply_fragment import fragment

        return fragment(self)
