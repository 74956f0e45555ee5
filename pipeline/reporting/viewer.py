"""What the page's viewer shows of every query: its first results with verdict, score and box, as JSON inside the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.reporting.query_tables import QueryRow
from pipeline.reporting.retrievals import Hit, Retrievals

VERDICTS = ("relevant", "junk", "irrelevant")


@dataclass(frozen=True)
class ShownImage:
    """An image: its file's name, and its picture below reports/pictures; None where it has none."""

    file: str
    picture: str | None


def viewer_data(rows: Sequence[QueryRow], shown: Retrievals, images: Mapping[str, ShownImage]) -> str:
    """The JSON: `images` [id, file, picture], and `queries` {image, about, hits [image, verdict, rank from 1, score, box in per cent]},
    images and verdicts by their number.

    Args:
        rows: of the queries' table, which says what is known of each.
        images: by id.
    """
    about = {row.query_id: row for row in rows}
    further: dict[str, list[Hit]] = {}
    for query in (*shown.relevant_last, *shown.irrelevant_first):
        further.setdefault(query.query_id, []).extend(query.hits)
    numbers: dict[str, int] = {}
    queries = []
    for query in shown.every:
        hits = {hit.image_id: hit for hit in (*further.get(query.query_id, ()), *query.hits)}
        queries.append(
            {
                "image": numbers.setdefault(query.query_id, len(numbers)),
                "about": _about(about.get(query.query_id), query.answer),
                "hits": [_hit(hit, numbers) for hit in sorted(hits.values(), key=lambda hit: (hit.rank, hit.image_id))],
            }
        )
    listed = [[image_id, images[image_id].file, images[image_id].picture] for image_id in numbers]
    text = json.dumps({"images": listed, "verdicts": VERDICTS, "queries": queries}, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")  # no text of it ends the script element that holds it


def _hit(hit: Hit, numbers: dict[str, int]) -> list[object]:
    box = [round(edge, 1) for edge in hit.box] if hit.box else None
    return [numbers.setdefault(hit.image_id, len(numbers)), VERDICTS.index(hit.verdict), hit.rank + 1, round(hit.score, 4), box]


def _about(row: QueryRow | None, answer: str) -> str:
    parts = [f"shows {row.instance}"] if row and row.instance else []
    parts += [f"average precision {row.ap:.4f}"] if row else []
    return " · ".join([*parts, *([f"taken for {answer}"] if answer else [])])
