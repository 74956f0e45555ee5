"""`python -m pipeline.comparison.intervals IN OUT`: how sure the means of a sweep's cells are, and their differences from a baseline.

IN holds a list of tables as JSON: each has `values`, per-query numbers by measure (`map`, `precision_at_1`) and query, and `baseline`, the
place of the table that it is compared with, or null. OUT holds as many objects: by measure `low` and `high` of the mean, and `difference`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.differences import paired_difference
from pipeline.stage.tables import read_json, write_json

Values = dict[str, dict[str, float]]
"""By measure and query."""


def intervals(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What IN asks for; 95 % bootstrap intervals over the queries, differences over the queries that both tables have."""
    return [_of_table(table["values"], None if table["baseline"] is None else tables[table["baseline"]]["values"]) for table in tables]


def _of_table(values: Values, baseline: Values | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for measure, own in values.items():
        numbers = np.array(list(own.values()), np.float64)
        if not len(numbers):
            continue
        mean = paired_difference(np.zeros_like(numbers), numbers)
        found[measure] = {"low": mean.low, "high": mean.high, "difference": None}
        both = [query for query in own if query in baseline[measure]] if baseline is not None else []
        if baseline is not None and both:
            pair = paired_difference([baseline[measure][query] for query in both], [own[query] for query in both])
            found[measure]["difference"] = {"mean": pair.mean, "low": pair.low, "high": pair.high, "p_value": pair.p_value, "certain": pair.certain}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    write_json(options.output, intervals(read_json(options.tables)))


if __name__ == "__main__":
    main()
