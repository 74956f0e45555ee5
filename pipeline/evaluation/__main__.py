"""Stage evaluate: rankings to metrics, per-query tables and curves under reports/."""

import argparse
import csv
import logging
from pathlib import Path
from typing import Any

from pipeline.contracts.catalogue import GroundTruth, read_catalogue, read_ground_truth
from pipeline.contracts.entry import run_stage
from pipeline.contracts.manifest import load_manifest
from pipeline.contracts.parameters import load_section
from pipeline.contracts.rankings import ANSWERS, SETS
from pipeline.contracts.run_record import Produced
from pipeline.contracts.tables import read_table, replacing, write_json
from pipeline.evaluation.answers import score_answers, shown_by_queries
from pipeline.evaluation.curves import RECALLS, mean_curve
from pipeline.evaluation.params import EvaluateParameters
from pipeline.evaluation.protocols import PROTOCOLS, Label, QueryResult, evaluate, score_query

log = logging.getLogger(__name__)
OUTPUTS = (("provenance", "json"), ("metrics", "json"), ("plots", "csv"), ("per_query", "csv"))
PER_QUERY = ("query_id", "setting", "ap", "ap_trapezoid", "ap_plain", "precision_at_1", "positives", "first_positive")


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--dataset", required=True)
    options = parser.parse_args(arguments)
    parameters = load_section(EvaluateParameters, "evaluate")
    rankings, images = Path("data/rankings") / options.benchmark, Path("data/images") / options.dataset
    facts = load_manifest(rankings, "rankings").facts
    truth = read_ground_truth(images / "ground_truth.parquet")
    catalogue = read_catalogue(images / "catalogue.parquet")
    unreadable = sum(not row.readable for row in catalogue)
    metrics: dict[str, Any] = {
        "database_images": facts["database"],
        "distractors": facts["distractors"],
        "queries": facts["queries"],
        "queries_unreadable": facts["queries"] - facts["answered"],
        "unreadable_images": unreadable,
        "held_out_duplicates": _duplicates(facts["computed_with"]),
        "dimensions": facts["dimensions"],
        "bits": facts["bits"] or 0,
        "zero_descriptors": facts["computed_with"]["descriptors"]["zero_descriptors"],
    }
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for name in SETS if facts["distractors"] else SETS[:1]:
        size = facts["database"] + (facts["distractors"] if name == "with_distractors" else 0)
        labels = _labels(rankings / f"counts-{name}.parquet", truth)
        metrics[name] = _score(name, labels, truth, size, parameters, rows, curves)
    if answers := score_answers(rankings / ANSWERS, shown_by_queries(catalogue, truth)):
        metrics["answers"] = answers
    reports = Path("reports")
    outputs = tuple(reports / f"{folder}/{options.benchmark}.{end}" for folder, end in OUTPUTS)
    _write_csv(outputs[2], ("setting", "recall", "precision"), curves)
    _write_csv(outputs[3], PER_QUERY, rows)
    about = {"protocol": truth.protocol, "ties": "expected value over all orders of equal scores", **parameters.model_dump()}
    write_json(outputs[0], {**facts["computed_with"], "evaluate": about})
    write_json(outputs[1], metrics)
    return Produced(outputs, facts["answered"], "queries")


def _duplicates(computed_with: dict[str, Any]) -> int:
    """Images of the benchmark in the held-out set, where the describer or the hash function learned from it."""
    hashed_on = computed_with["codes"]["learned_on"]
    return max(int(computed_with["descriptors"]["duplicates"]), int(hashed_on["duplicates"]) if hashed_on else 0)


def _labels(path: Path, truth: GroundTruth) -> dict[str, list[Label]]:
    """Labels by query: those in the database with their counts, the others without."""
    counted = {(row["query_id"], row["image_id"]): (row["score"], row["above"], row["equal"]) for row in read_table(path, "counts").to_pylist()}
    labels: dict[str, list[Label]] = {query: [] for query in truth.queries}
    for query, image_id, relevance in truth.rows:
        labels[query].append(Label(image_id, relevance, *counted.get((query, image_id), (None, None, None))))
    return labels


def _score(
    name: str,
    labels: dict[str, list[Label]],
    truth: GroundTruth,
    size: int,
    parameters: EvaluateParameters,
    rows: list[dict[str, Any]],
    curves: list[dict[str, Any]],
) -> dict[str, Any]:
    """Numbers of one database in every setting of the protocol; adds to the per-query table and the curves."""
    numbers: dict[str, Any] = {}
    for setting, protocol in PROTOCOLS[truth.protocol].items():
        scored = [score_query(query, labels[query], protocol, size, _at(parameters), parameters.recall_at) for query in truth.queries]
        results = [result for result in scored if result is not None]
        own = evaluate(results, truth.protocol, parameters.rule)
        own["queries_without_positives"] = len(scored) - len(results)
        full = "/".join(part for part in (name, setting) if part)
        _warn(full, own, parameters)
        numbers |= {setting: own} if setting else own
        rows += [_row(result, full, parameters.rule) for result in results]
        curves += [{"setting": full, "recall": f"{r:.2f}", "precision": f"{p:.6f}"} for r, p in zip(RECALLS, mean_curve(results), strict=True)]
    return numbers


def _at(parameters: EvaluateParameters) -> tuple[int, ...]:
    return tuple(sorted({1, *parameters.precision_at}))


def _row(result: QueryResult, setting: str, rule: str) -> dict[str, Any]:
    return {
        "query_id": result.query_id,
        "setting": setting,
        "ap": f"{result.average_precision[rule]:.6f}",
        "ap_trapezoid": f"{result.average_precision['trapezoid']:.6f}",
        "ap_plain": f"{result.average_precision['plain']:.6f}",
        "precision_at_1": f"{result.precision[1]:.6f}",
        "positives": result.positives,
        "first_positive": "" if result.first is None else f"{result.first:g}",
    }


def _warn(setting: str, numbers: dict[str, Any], parameters: EvaluateParameters) -> None:
    log.info("%s: mAP %.4f, P@1 %.4f over %d queries.", setting, numbers["map"], numbers["precision_at_1"], numbers["scored_queries"])
    chance = numbers["map_at_chance"]
    numbers["at_chance_level"] = int(numbers["map_trapezoid"] < chance + parameters.chance_margin * (1 - chance))
    if numbers["at_chance_level"]:
        log.warning("%s: mAP is at chance level (%.4f); look at the network's weights and preprocessing, and at the ground truth.", setting, chance)
    if numbers["queries_without_positives"]:
        log.warning("%s: %d queries have no positive and are left out of the means.", setting, numbers["queries_without_positives"])


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run_stage(main)
