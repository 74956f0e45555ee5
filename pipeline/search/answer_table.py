"""Answers of a benchmark: what its database shows, what unknown objects score in it, and the table that is written."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.contracts.rankings import ANSWERS_SCHEMA
from pipeline.search.answers import Answer, UnknownObjects, answers_of, needed
from pipeline.search.certainty import Certainty
from pipeline.search.plain_search import PatchSearch, Rows, Search
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.tables import write_table

QUESTIONS = 1000


def known_instances(images: Path) -> dict[str, str]:
    """What the database images of data/images/DATASET show, by id, as far as that is known."""
    rows = read_catalogue(images / places.CATALOGUE)
    return {row.image_id: row.instance for row in rows if row.role == "database" and row.instance is not None}


def search_unknown(
    search: Search, images: Path, instances: Mapping[str, str], distractors: int = 0, *, learned: bool = False, trained: bool = False
) -> UnknownObjects:
    """Search the database for photographs that show none of its instances: those of the held-out set that nothing learned from, or
    distractors, or all held-out photographs.

    Nothing is known where there are none, or where results are looked at again.

    Args:
        distractors: that there are; at most QUESTIONS of them ask, spread evenly.
        learned: whether the method learned from the held-out photographs that are not kept back.
        trained: whether the network was fine-tuned on the held-out photographs, those that are kept back among them.
    """
    if _looks_again(search):
        return UnknownObjects.of([], search.parameters.accept_unknown)
    shown = {row.image_id: row.instance for row in read_catalogue(images / places.CATALOGUE)}
    known = set(instances.values())

    def strange(image_id: str) -> bool:
        return image_id not in instances and shown.get(image_id) not in known

    places_of_distractors = itertools.count()
    answers = _answers_to(search, search.read(search.own, "kept_back-"), strange, instances)
    if answers:
        return UnknownObjects.of(answers, search.parameters.accept_unknown, learned=trained)
    if distractors:
        step = -(-distractors // QUESTIONS)
        answers = _answers_to(search, search.read(search.distractors, "distractors-"), lambda _: next(places_of_distractors) % step == 0, instances)
    if answers:
        return UnknownObjects.of(answers, search.parameters.accept_unknown)
    answers = _answers_to(search, search.read(search.own, "held_out-"), strange, instances)
    return UnknownObjects.of(answers, search.parameters.accept_unknown, learned=(learned or trained) and bool(answers))


@dataclass(frozen=True)
class Sureness:
    """How sure answers are of their instances.

    Attributes:
        certainty: learned from everything that is there, for photographs that are asked later; None where nothing says so.
        sure: of the benchmark's own answers, by query: learned from other instances' queries, or from the database's photographs.
    """

    certainty: Certainty | None
    sure: Mapping[str, float]


def learn_sureness(search: Search, answers: Sequence[Answer], images: Path, instances: Mapping[str, str]) -> Sureness:
    """Learn from the benchmark's queries where they are photographs of their own and enough of them show an instance of the database: they are
    what will be asked. Half of the instances then say how sure the answers to the other half are. Else let the database's photographs ask.

    Args:
        answers: to the benchmark's queries.
    """
    known = set(instances.values())
    queries = (row for row in read_catalogue(images / places.CATALOGUE) if row.role == "query")
    shown = {row.image_id: row.instance for row in queries if row.instance in known and row.instance is not None}
    asked = [answer for answer in answers if answer.query_id in shown]
    numbers = {instance: number for number, instance in enumerate(sorted(set(shown.values())))}
    halves = [[answer for answer in asked if numbers[shown[answer.query_id]] % 2 == half] for half in (0, 1)]
    learned = [Certainty.learn(half, shown) for half in halves]
    if learned[0] is None or learned[1] is None:
        certainty = search_known(search, instances)
        return Sureness(certainty, {answer.query_id: certainty.sure(answer) for answer in answers} if certainty else {})
    own = {answer.query_id: other.sure(answer) for half, other in zip(halves, reversed(learned), strict=True) if other for answer in half}
    whole = Certainty.learn(asked, shown)
    assert whole is not None, "more than each half"
    return Sureness(whole, {answer.query_id: own.get(answer.query_id, whole.sure(answer)) for answer in answers})


def search_known(search: Search, instances: Mapping[str, str]) -> Certainty | None:
    """Let the database's photographs ask, each without itself; at most QUESTIONS of them, spread evenly.

    Nothing is learned with patches, where results are looked at again, and where rows of the database hold other images than their own.
    """
    if isinstance(search, PatchSearch) or _looks_again(search) or search.parameters.augmentation.used:
        return None
    siblings = Counter(instances.values())
    asking = sorted(image_id for image_id, instance in instances.items() if siblings[instance] > 1)
    spread = set(asking[:: max(1, -(-len(asking) // QUESTIONS))])
    return Certainty.learn(_answers_to(search, search.read(search.own, "database-"), spread.__contains__, instances), instances)


def _looks_again(search: Search) -> bool:
    """Whether re-ranking looks at photographs or maps, which takes too long for questions that only calibrate."""
    chosen = search.parameters.rerank.chosen
    return chosen is not None and chosen.looks


def _answers_to(search: Search, asking: Iterator[tuple[list[str], Rows]], asks: Callable[[str], bool], instances: Mapping[str, str]) -> list[Answer]:
    """Let images ask the database.

    Args:
        asking: blocks of (image ids, rows).
        asks: whether an image, by its id, is one of them.
    """
    answers: list[Answer] = []
    for ids, rows in asking:
        kept = [place for place, image_id in enumerate(ids) if asks(image_id)]
        for first in range(0, len(kept), search.queries_at_once):
            some = kept[first : first + search.queries_at_once]
            own = [ids[place] for place in some]
            results, _ = search.search(own, np.stack([rows[place] for place in some]), "database", [[] for _ in own])
            answers += answers_of(own, results, instances)
    return answers


def write_answers(path: Path, answers: list[Answer], unknown: UnknownObjects, sureness: Sureness) -> None:
    """The table of answers; its metadata hold what both statements were learned from."""
    threshold = unknown.threshold
    rows: list[dict[str, Any]] = [
        vars(answer)
        | {
            "known": None if threshold is None else answer.score > threshold,
            "unknown_p": unknown.p_value(answer.score),
            "sure": sureness.sure.get(answer.query_id),
        }
        for answer in answers
    ]
    columns = {name: [row[name] for row in rows] for name in ANSWERS_SCHEMA.names}
    facts: dict[str, Any] = {"threshold": threshold, "accepted": unknown.accepted, "unknown": len(unknown.scores)}
    facts |= {"needed": needed(unknown.share), "certainty": sureness.certainty.facts if sureness.certainty else None}
    facts |= {"share": unknown.share, "unknown_scores": unknown.scores.tolist()}
    write_table(path, "answers", ANSWERS_SCHEMA, columns, **facts)


def doubts(benchmark: str, unknown: UnknownObjects) -> list[str]:
    """What a reader of the answers has to know of them, in lines."""
    if not unknown.enough:
        return [
            f"{benchmark}: {len(unknown.scores)} photographs of unknown objects cannot tell whether an object is known; "
            f"search.accept_unknown {unknown.share:g} needs {needed(unknown.share)}."
        ]
    if unknown.learned:
        return [
            f"{benchmark}: the held-out photographs that tell what is unknown are those that were learned from, which can accept more unknown "
            f"objects than search.accept_unknown {unknown.share:g}; set benchmarks.{benchmark}.kept_back, 0.2 say, or name distractors. Where the "
            "network is fine-tuned on them, name distractors or another held_out."
        ]
    if unknown.too_many_accepted:
        return [
            f"{benchmark}: {unknown.accepted:.3f} of {len(unknown.scores)} photographs of unknown objects are taken for known by the threshold "
            "of the others, "
            f"search.accept_unknown is {unknown.share:g}."
        ]
    return []
