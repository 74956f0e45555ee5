"""Answers of a benchmark: what its database shows, what unknown objects score in it, and the table that is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts.rankings import ANSWERS_SCHEMA
from pipeline.search.answers import Answer, UnknownObjects, answers_of
from pipeline.search.plain_search import Search
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.tables import write_table


def known_instances(images: Path) -> dict[str, str]:
    """What the database images of data/images/DATASET show, by id, as far as that is known."""
    rows = read_catalogue(images / places.CATALOGUE)
    return {row.image_id: row.instance for row in rows if row.role == "database" and row.instance is not None}


def search_unknown(search: Search, images: Path, instances: Mapping[str, str]) -> UnknownObjects:
    """Search the database for the held-out photographs that show none of its instances.

    Nothing is known where there are none, as with codes and patches, or where results are looked at again.
    """
    chosen = search.parameters.rerank.chosen
    shown = {row.image_id: row.instance for row in read_catalogue(images / places.CATALOGUE)}
    known = set(instances.values())
    answers: list[Answer] = []
    for ids, rows in search.read(search.own, "held_out-") if not (chosen and chosen.looks) else ():
        kept = [place for place, image_id in enumerate(ids) if image_id not in instances and shown.get(image_id) not in known]
        for first in range(0, len(kept), search.queries_at_once):
            some = kept[first : first + search.queries_at_once]
            own = [ids[place] for place in some]
            results, _ = search.search(own, np.stack([rows[place] for place in some]), "database", [[] for _ in own])
            answers += answers_of(own, results, instances)
    return UnknownObjects.of(answers, search.parameters.accept_unknown)


def write_answers(path: Path, answers: list[Answer], unknown: UnknownObjects) -> None:
    """The table of answers; its metadata hold the threshold and what was found of unknown objects."""
    threshold = unknown.threshold
    rows: list[dict[str, Any]] = [
        vars(answer) | {"confidence": unknown.confidence(answer.score), "known": None if threshold is None else answer.score > threshold}
        for answer in answers
    ]
    columns = {name: [row[name] for row in rows] for name in ANSWERS_SCHEMA.names}
    facts = {"threshold": threshold, "accepted": unknown.accepted, "unknown": len(unknown.scores), "checked": len(unknown.checked)}
    write_table(path, "answers", ANSWERS_SCHEMA, columns, **facts)
