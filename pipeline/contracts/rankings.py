"""What search hands to evaluation: the first results of every query, and exact counts for every labelled image."""

import pyarrow as pa

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
"""The top k: rank from 0, score higher is better; where re-ranking found the query, in shares of the image's width and height, else null."""

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
        ("confidence", pa.float32()),
        ("known", pa.bool_()),
    ]
)
"""The nearest instance of every query, by the image that shows it, with the score of the next other instance. `confidence` and `known` are null
where no held-out photograph says what unknown objects score."""

SETS = ("database", "with_distractors")
"""The two databases that every benchmark is searched in; the second only where there are distractors."""
