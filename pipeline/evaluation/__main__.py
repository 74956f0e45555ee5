"""Stage evaluate: rankings to metrics, per-query tables and curves under reports/."""

import argparse
import logging
from pathlib import Path
from typing import Any

from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.metrics import Metrics, Scores
from pipeline.contracts.protocols import FOUND_AT, MAP_AT, PROTOCOLS
from pipeline.contracts.rankings import ANSWERS, KIND, SETS, ComputedWith, Provenance, RankingFacts
from pipeline.evaluation.answers import score_answers, shown_by_queries
from pipeline.evaluation.curves import RECALLS, mean_curve
from pipeline.evaluation.overlap import Overlaps
from pipeline.evaluation.params import EvaluateParameters
from pipeline.evaluation.protocols import Label, QueryResult, Ranks, evaluate, score_query
from pipeline.stage import places
from pipeline.stage.catalogue import GroundTruth, read_catalogue, read_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_table, write_json
from pipeline.stage.text_tables import write_csv

log = logging.getLogger(__name__)
PER_QUERY = ("query_id", "setting", "ap", "ap_trapezoid", "ap_plain", "precision_at_1", "positives", "first_positive")


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `benchmarks` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    sets = load_benchmark(benchmark, "dataset")
    parameters = load_section(EvaluateParameters, "evaluate")
    rankings, images = places.rankings(benchmark), places.images(sets.dataset)
    facts = RankingFacts.of(load_manifest(rankings, KIND))
    truth = read_ground_truth(images / places.GROUND_TRUTH)
    catalogue = read_catalogue(images / places.CATALOGUE)
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    scores: dict[str, Any] = {}
    for name in SETS if facts.distractors else SETS[:1]:
        size = facts.database + (facts.distractors if name == "with_distractors" else 0)
        overlaps = Overlaps(rankings / f"ranking-{name}.parquet", catalogue, truth.objects)
        labels = _labels(rankings / f"counts-{name}.parquet", truth, overlaps)
        scores[name] = _score(name, labels, truth, size, parameters, rows, curves)
    answers, bins = score_answers(rankings / ANSWERS, shown_by_queries(catalogue, truth))
    metrics = Metrics(
        database_images=facts.database,
        distractors=facts.distractors,
        queries=facts.queries,
        queries_unreadable=facts.queries - facts.answered,
        unreadable_images=sum(not row.readable for row in catalogue),
        held_out_duplicates=_duplicates(facts.computed_with),
        dimensions=facts.dimensions,
        bits=facts.bits or 0,
        zero_descriptors=facts.computed_with.descriptors.zero_descriptors,
        answers=answers,
        **scores,
    )
    outputs = tuple(place(benchmark) for place in (places.provenance, places.metrics, places.curves, places.per_query))
    metrics.save(outputs[1])
    for overlap in facts.computed_with.descriptors.network_overlaps:
        log.warning("%s: %s.", benchmark, overlap.warning)
    write_csv(outputs[2], ("setting", "recall", "precision"), curves)
    write_csv(outputs[3], PER_QUERY, rows)
    about = {"protocol": truth.protocol, "ties": "expected value over all orders of equal scores", **parameters.model_dump()}
    write_json(outputs[0], Provenance(**dict(facts.computed_with), evaluate=about, reliability=tuple(bins)).model_dump(mode="json"))
    return Produced(outputs, facts.answered, "queries")


def _duplicates(computed_with: ComputedWith) -> int:
    """Images of the benchmark in the held-out set, where the describer or the hash function learned from it."""
    hashed_on = computed_with.codes.learned_on
    return max(computed_with.descriptors.duplicates, hashed_on.duplicates if hashed_on else 0)


def _labels(path: Path, truth: GroundTruth, overlaps: Overlaps) -> dict[str, list[Label]]:
    """Labels by query: those in the database with their counts, the others without."""
    counted = {(row["query_id"], row["image_id"]): (row["score"], row["above"], row["equal"]) for row in read_table(path, "counts").to_pylist()}
    labels: dict[str, list[Label]] = {query: [] for query in truth.queries}
    for query, image_id, relevance in truth.rows:
        own = counted.get((query, image_id), (None, None, None))
        labels[query].append(Label(image_id, relevance, *own, overlaps.of(query, image_id)))
    return labels


def _score(
    name: str,
    labels: dict[str, list[Label]],
    truth: GroundTruth,
    size: int,
    parameters: EvaluateParameters,
    rows: list[dict[str, Any]],
    curves: list[dict[str, Any]],
) -> Scores | dict[str, Scores]:
    """Numbers of one database in every setting of the protocol; adds to the per-query table and the curves."""
    found: dict[str, Scores] = {}
    ranks = _ranks(parameters, truth.protocol)
    for setting, protocol in PROTOCOLS[truth.protocol].items():
        scored = [score_query(query, labels[query], protocol, size, ranks) for query in truth.queries]
        results = [result for result in scored if result is not None]
        numbers: dict[str, Any] = evaluate(results, truth.protocol, parameters.rule)
        full = "/".join(part for part in (name, setting) if part)
        found[setting] = _judged(full, Scores(**numbers, queries_without_positives=len(scored) - len(results)), parameters)
        rows += [_row(result, full, parameters.rule) for result in results]
        curves += [{"setting": full, "recall": f"{r:.2f}", "precision": f"{p:.4f}"} for r, p in zip(RECALLS, mean_curve(results), strict=True)]
    return found[""] if list(found) == [""] else found


def _ranks(parameters: EvaluateParameters, protocol: str) -> Ranks:
    """What the parameters ask for, and what the protocol itself reports."""
    cut = {name: tuple(sorted({*getattr(parameters, f"{name}_at"), *own.get(protocol, ())})) for name, own in (("map", MAP_AT), ("found", FOUND_AT))}
    return Ranks(tuple(sorted({1, *parameters.precision_at})), parameters.recall_at, **cut)


def _row(result: QueryResult, setting: str, rule: str) -> dict[str, Any]:
    return {
        "query_id": result.query_id,
        "setting": setting,
        "ap": f"{result.average_precision[rule]:.4f}",
        "ap_trapezoid": f"{result.average_precision['trapezoid']:.4f}",
        "ap_plain": f"{result.average_precision['plain']:.4f}",
        "precision_at_1": f"{result.precision[1]:.4f}",
        "positives": result.positives,
        "first_positive": "" if result.first is None else f"{result.first:g}",
    }


def _judged(setting: str, scores: Scores, parameters: EvaluateParameters) -> Scores:
    """The scores with a word on whether they are better than chance; what looks wrong is warned of."""
    log.info("%s: mAP %.4f, P@1 %.4f over %d queries.", setting, scores.map, scores.precision_at_1, scores.scored_queries)
    chance = scores.map_at_chance
    at_chance = scores.map_trapezoid < chance + parameters.chance_margin * (1 - chance)
    if at_chance:
        log.warning("%s: mAP is at chance level (%.4f); look at the network's weights and preprocessing, and at the ground truth.", setting, chance)
    if scores.queries_without_positives:
        log.warning("%s: %d queries have no positive and do not count in the means.", setting, scores.queries_without_positives)
    return scores.model_copy(update={"at_chance_level": int(at_chance)})


if __name__ == "__main__":
    run_stage(main)
