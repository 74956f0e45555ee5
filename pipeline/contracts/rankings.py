"""What search hands to evaluation: the first results of every query, and exact counts for every labelled image."""

from typing import Any

import pyarrow as pa

from pipeline.contracts.codes import CodeFacts
from pipeline.contracts.descriptors import DescriptorFacts, DistractorFacts, PatchCounts
from pipeline.stage.manifest import Facts

KIND = "rankings"

RANKING_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("rank", pa.int32()),
        ("image_id", pa.string()),
        ("score", pa.float32()),
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
    ]
)
"""The top k: rank from 0, score higher is better; where re-ranking or the nearest patch found the query, in shares of the image's width and
height, else null."""

IRRELEVANT = 4
"""Images without a label that are kept of every query, first in rank: in `irrelevant-SET.parquet`, of the same columns as a ranking."""

COUNTS_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("image_id", pa.string()),
        ("relevance", pa.string()),
        ("score", pa.float32()),
        ("above", pa.int64()),
        ("equal", pa.int64()),
    ]
)
"""One row per query and labelled image that is in the database: how many database images score strictly above it, and
how many score the same, itself included. Labelled images that are missing from the database stand in the ground truth alone."""

ANSWERS = "answers.parquet"
ANSWERS_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("image_id", pa.string()),
        ("instance", pa.string()),
        ("score", pa.float32()),
        ("runner_up", pa.float32()),
        ("known", pa.bool_()),
        ("unknown_p", pa.float32()),
        ("sure", pa.float32()),
    ]
)
"""The nearest instance of every query, by the image that shows it, with the score of the next other instance. Two separate
statements follow. `known`: whether the object is in the database at all, with `unknown_p`, the share of unknown photographs that score as
high; null where too few held-out photographs say what unknown objects score. `sure`: the probability that the instance is right, given that
the object is in the database; null where nothing says so."""

SETS = ("database", "with_distractors")
"""The two databases that every benchmark is searched in; the second only where there are distractors."""


class ComputedWith(Facts):
    """What a ranking was computed with, as the manifests of its inputs say.

    Attributes:
        search: the parameters of the search that decide numbers.
        shortlist: images per query whose patches were compared; None for all.
        refinements: what the search did beyond comparing every descriptor once, in words.
    """

    descriptors: DescriptorFacts
    distractors: DistractorFacts
    codes: CodeFacts
    search: dict[str, Any]
    shortlist: int | None
    refinements: list[str]


class RankingFacts(Facts):
    """Of data/rankings/BENCHMARK.

    Attributes:
        queries, answered: of the ground truth, and those of them that have a descriptor.
        bits: of a code; None where descriptors are searched.
        database, distractors: images.
    """

    queries: int
    answered: int
    dimensions: int
    patches: PatchCounts
    bits: int | None
    database: int
    distractors: int
    computed_with: ComputedWith


class Provenance(ComputedWith):
    """reports/provenance/BENCHMARK.json: what its numbers were computed with, and how they were scored.

    Attributes:
        reliability: of answers that are about as sure: `sure` and `right`, their means, and `queries`, their number.
    """

    evaluate: dict[str, Any]
    reliability: tuple[dict[str, float], ...] = ()
