"""Grids: their cells, what they set, what is refused, and the table of measured and published."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.aggregation.params import METHODS
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.metrics import Metrics, Scores
from pipeline.evaluation.differences import paired_difference
from pipeline.evaluation.params import EvaluateParameters
from pipeline.hashing.params import HASH_METHODS
from pipeline.imaging.params import ResizeParameters
from pipeline.search.params import SearchParameters
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import read_section
from pipeline.stage.tables import read_json
from pipeline.whole import check_parameters
from tasks.experiments import check_overrides
from tasks.grids import SweepFile, cell_name, cells, load_sweep
from tasks.stage_graph import overridden
from tasks.sweeps import Measured, measure_intervals, numbers, table, write_tables
from tests.conftest import PROJECT

GRID: dict[str, Any] = {
    "title": "A grid",
    "figure": {"x": "whitening", "lines": "pooling"},
    "axes": {
        "pooling": {"MAC": {"aggregate.method": "mac"}, "R-MAC": {"aggregate.method": "rmac"}},
        "whitening": {"none": {"aggregate.{aggregate.method}.whitening": "none"}, "PCA": {"aggregate.{aggregate.method}.whitening": "pca"}},
    },
    "cells": [
        {"where": {"pooling": "R-MAC", "whitening": "PCA"}, "set": {"aggregate.rmac.regional_whitening": "none", "extract.scales": [1.0, 0.5]}}
    ],
    "published": [
        {"where": {"pooling": "R-MAC"}, "benchmark": "gallery", "map": 0.6, "source": "one"},
        {"where": {"pooling": "MAC"}, "benchmark": "oxford5k", "map": 0.5, "source": "two"},
    ],
}


def scores(mean: float, **more: float) -> Scores:
    numbers = {"map": mean, "map_trapezoid": mean, "map_plain": mean, "map_at_chance": 0.0, "precision_at_1": 0.5, "scored_queries": 3}
    return Scores.model_validate(numbers | more)


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(GRID | changes), encoding="utf-8")
    return path


def test_every_combination_is_a_cell_and_names_in_braces_are_its_own_values(tmp_path: Path) -> None:
    found = {cell.title: cell.overrides for cell in cells(load_sweep(written(tmp_path)), read_section("", PROJECT / "params.yaml"))}
    assert found == {
        "MAC, none": ["aggregate.method=mac", "aggregate.mac.whitening=none"],
        "MAC, PCA": ["aggregate.method=mac", "aggregate.mac.whitening=pca"],
        "R-MAC, none": ["aggregate.method=rmac", "aggregate.rmac.whitening=none"],
        "R-MAC, PCA": [
            "aggregate.method=rmac",
            "aggregate.rmac.whitening=pca",
            "aggregate.rmac.regional_whitening=none",
            "extract.scales=[1.0,0.5]",
        ],
    }


def test_a_cell_names_what_its_labels_set(tmp_path: Path) -> None:
    grid = load_sweep(written(tmp_path, set={"aggregate.mac.whitening": "none", "search.top": 9}))
    found = {cell.title: cell.labelled for cell in cells(grid, read_section("", PROJECT / "params.yaml"))}
    assert found["MAC, none"] == ["aggregate.method=mac"]
    assert found["MAC, PCA"] == ["aggregate.mac.whitening=pca", "aggregate.method=mac"]


def test_a_small_number_stays_a_number(tmp_path: Path) -> None:
    axes = {"rate": {"low": {"a.b": 1e-5, "c": [2e-7, 0.5]}, "high": {"a.b": 1e20}}}
    found = [cell.overrides for cell in cells(load_sweep(written(tmp_path, axes=axes, cells=[], published=[], figure=None)), {})]
    assert found == [["a.b=1.0e+20"], ["a.b=1.0e-05", "c=[2.0e-07,0.5]"]]
    assert all(isinstance(yaml.safe_load(item.partition("=")[2]), float) for own in found for item in own if not item.endswith("]"))


def test_published_precision_stands_in_a_column_of_its_own(tmp_path: Path) -> None:
    published = [{"where": {"pooling": "MAC"}, "benchmark": "gallery", "precision_at_1": 0.7, "source": "s"}]
    sweep = load_sweep(written(tmp_path, published=published))
    first = cells(sweep, read_section("", PROJECT / "params.yaml"))[0]
    rows = table(sweep, [Measured(first, "e", "ran", {("gallery", "database"): {"map": 0.4, "precision_at_1": 0.6}})])
    assert [(row["mAP"], row["published"], row["P@1"], row["published P@1"]) for row in rows] == [("0.4000", "", "0.6000", "0.7")]
    with pytest.raises(ParameterError, match="expected map or precision_at_1"):
        load_sweep(written(tmp_path, published=[{"where": {}, "benchmark": "b", "source": "s"}]))


GRIDS = [path for path in sorted((PROJECT / "experiments").glob("*.yaml")) if not path.stem.endswith("_base")]


@pytest.mark.parametrize("file", GRIDS, ids=lambda path: path.stem)
def test_the_projects_own_grids_fit_its_parameters(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of weights that a grid names are stood in for."""
    monkeypatch.setenv("RETRIEVAL_DATA", str(tmp_path))
    first = cells(load_sweep(file), read_section("", PROJECT / "params.yaml"))[0]
    sections = [each for each in first.overrides if each.lstrip("+") not in {own.lstrip("+") for own in first.own}]
    parameters = overridden(read_section("", PROJECT / "params.yaml"), sections)  # once for all cells
    chosen = cells(load_sweep(file), parameters)
    assert len({cell_name(file.stem, cell, [], "") for cell in chosen}) == len(chosen) >= 2
    assert len({tuple(cell.overrides) for cell in chosen}) == len(chosen)
    named = {target.partition("@")[2] for target in load_sweep(file).targets} - {""}
    if named:
        assert {each.benchmark for each in load_sweep(file).published} <= named
    file = tmp_path / "params.yaml"
    for cell in chosen:
        content = overridden(parameters, cell.overrides)
        for location in filter(None, (network.get("location") for network in content["networks"].values())):
            (tmp_path / location).parent.mkdir(exist_ok=True)
            (tmp_path / location).touch()
        file.write_text(json.dumps(content), encoding="utf-8")
        check_parameters(file)


DECIDING = ("resize", "network", "extract", "aggregate", "hash", "search", "evaluate")
NAMED = ("datasets", "networks", "finetune", "benchmarks", "mask_study", "patch_study", "region_study", "activation_study")


def altered(value: Any) -> Any:
    """Another value of the same kind, in every leaf."""
    if isinstance(value, dict):
        return {key: altered(each) for key, each in value.items()}
    if isinstance(value, list):
        return [*map(altered, value), *value[:1]]
    others: dict[type, Any] = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value + 0.5, str: lambda: f"{value}_other"}
    return others.get(type(value), lambda: "something")()


def deciding(parameters: dict[str, Any], overrides: list[str], sections: dict[str, Any]) -> dict[str, Any]:
    """What of a cell's parameters its numbers can follow from."""
    content = overridden(parameters, overrides)
    return {name: content[name] for name in DECIDING} | {name: {key: content[name][key] for key in sections.get(name, ())} for name in NAMED}


@pytest.mark.parametrize("file", GRIDS, ids=lambda path: path.stem)
def test_the_projects_own_grids_do_not_follow_from_what_a_user_edits(file: Path) -> None:
    grid, parameters = load_sweep(file), read_section("", PROJECT / "params.yaml")
    others = altered(parameters)
    others["datasets"]["oxford5k"] = {"source": "folder", "path": "mine", "role": "query"}
    others["networks"]["vgg16"] = {"architecture": "vgg16", "weights": "file", "location": "mine", "sha256": "12345678"}
    others["benchmarks"]["paris6k"] = {"dataset": "mine", "held_out": "mine", "distractors": "mine", "allow_self_learning": True}
    assert {target.partition("@")[2] for target in grid.targets} <= {"", *grid.sections["benchmarks"]}
    assert grid.targets
    before, after = cells(grid, parameters), cells(grid, others)
    assert [cell_name("x", cell, [], "") for cell in before] == [cell_name("x", cell, [], "") for cell in after]
    for own, other in ((before[0], after[0]), (before[-1], after[-1])):
        assert deciding(parameters, own.overrides, grid.sections) == deciding(others, other.overrides, grid.sections)


def test_the_base_of_all_grids_holds_every_default() -> None:
    sections = read_section("sections", PROJECT / "experiments/defaults_base.yaml")
    models: dict[str, Any] = {"resize": ResizeParameters, "extract": ExtractParameters, "search": SearchParameters, "evaluate": EvaluateParameters}
    expected = {name: model().model_dump(mode="json") for name, model in models.items()}
    expected["network"] = NetworkChoice(name="x").model_dump(mode="json", exclude={"name"})
    expected["aggregate"] = {"storage": "float32"} | {name: kind().model_dump(mode="json") for name, kind in METHODS.items()}
    expected["hash"] = {"method": "none"} | {name: kind().model_dump(mode="json") for name, kind in HASH_METHODS.items()}
    assert sections == expected


def test_sections_take_the_place_of_what_is_there() -> None:
    sections: dict[str, dict[str, Any]] = {"a": {"x": 1, "y": 2.5}, "named": {"one": {"p": "005", "q": [1, 2]}, "two": {"p": "a b"}}}
    sweep = SweepFile(title="t", sections=sections, set={"a.y": 3, "+named.one.r": True}, axes={"axis": {"label": {}}})
    (cell,) = cells(sweep, {"a": {"x": 0, "y": 2.5, "z": 9}, "named": {"one": {"p": "005", "s": 1}, "three": {}}})
    assert cell.overrides == ["a.x=1", "+named.one.q=[1,2]", "+named.two={p:'a b'}", "~named.one.s", "a.y=3", "+named.one.r=true"]
    assert cell.own == ["a.y=3", "+named.one.r=true"]
    after = overridden({"a": {"x": 0, "y": 2.5, "z": 9}, "named": {"one": {"p": "005", "s": 1}, "three": {}}}, cell.overrides)
    assert after == {"a": {"x": 1, "y": 3, "z": 9}, "named": {"one": {"p": "005", "q": [1, 2], "r": True}, "three": {}, "two": {"p": "a b"}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tittle": "x"}, "sweep.tittle: unknown parameter; allowed: axes, base, baseline, cells, figure"),
        ({"axes": {}}, "sweep.axes: a grid needs one axis at least"),
        ({"base": "grid.yaml"}, "base: grid.yaml on grid.yaml; a base cannot stand on itself"),
        ({"cells": [{"where": {"pooling": "Max"}, "set": {}}]}, "where pooling: Max: there are only the labels of pooling: MAC, R-MAC"),
        ({"published": [{"where": {"network": "x"}, "benchmark": "b", "map": 0.5, "source": "s"}]}, "there are only the axes: pooling, whitening"),
    ],
)
def test_a_wrong_grid_is_refused_by_path(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=r"grid\.yaml") as caught:
        load_sweep(written(tmp_path, **changes))
    assert message in str(caught.value)


def test_wrong_overrides_are_refused_before_anything_runs() -> None:
    with pytest.raises(ParameterError, match=r"the cell none: search\.top_k: .*, got 0"):
        check_overrides(PROJECT, {"five": ["search.top_k=5"], "none": ["search.top_k=0"]})
    with pytest.raises(ParameterError, match=r"the cell other: .*no_such"):
        check_overrides(PROJECT, {"five": ["search.top_k=5"], "other": ["search.no_such=5"]})


def test_the_table_sets_measured_next_to_published(tmp_path: Path) -> None:
    grid = load_sweep(written(tmp_path))
    chosen = cells(grid, read_section("", PROJECT / "params.yaml"))
    measured = numbers({"gallery": Metrics(database=scores(0.25), with_distractors={"hard": scores(0.125)}, queries=3)})
    assert set(measured) == {("gallery", "database"), ("gallery", "with_distractors/hard")}
    rows = table(grid, [Measured(chosen[0], "a", "ran", measured), Measured(chosen[3], "b", "ran", measured), Measured(chosen[2], "c", "failed: x")])
    assert [(row["pooling"], row["benchmark"], row["database"], row["mAP"], row["published"], row["state"]) for row in rows] == [
        ("MAC", "gallery", "database", "0.2500", "", "ran"),
        ("MAC", "gallery", "with_distractors/hard", "0.1250", "", "ran"),
        ("MAC", "oxford5k", "database", "", "0.5", "not measured"),
        ("R-MAC", "gallery", "database", "0.2500", "0.6", "ran"),
        ("R-MAC", "gallery", "with_distractors/hard", "0.1250", "", "ran"),
        ("R-MAC", "", "", "", "", "failed: x"),
        ("R-MAC", "gallery", "database", "", "0.6", "not measured"),
    ]
    text = write_tables(tmp_path, "grid", grid, "abc", rows)
    assert text.splitlines()[0] == "# A grid"
    assert text.count("\n|") == len(rows) + 2, "with headings and a rule"
    assert (tmp_path / "grid.csv").read_text(encoding="utf-8").count("\n") == len(rows) + 1
    content = read_json(tmp_path / "grid.json")
    assert (content["title"], content["commit"], len(content["rows"])) == ("A grid", "abc", len(rows))
    assert content["figure"] == {"x": "whitening", "lines": "pooling"}


def test_a_base_gives_targets_and_overrides_that_the_file_may_replace(tmp_path: Path) -> None:
    base = {"targets": ["evaluate"], "set": {"search.top_k": 7, "resize.pixels": 300}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    grid = load_sweep(written(tmp_path, base="base.yaml", set={"resize.pixels": 200}))
    assert grid.targets == ["evaluate"]
    assert grid.set == {"search.top_k": 7, "resize.pixels": 200}
    (tmp_path / "base.yaml").write_text("bench: {}", encoding="utf-8")
    path = written(tmp_path, base="base.yaml")
    with pytest.raises(ParameterError, match=r"base\.bench: unknown parameter"):
        load_sweep(path)
    path = written(tmp_path, figure={"x": "alpha"})
    with pytest.raises(ParameterError, match="figure: alpha is no axis; there are: pooling, whitening"):
        load_sweep(path)


def test_ukbench_is_shown_in_the_measure_that_it_is_published_in(tmp_path: Path) -> None:
    grid = load_sweep(written(tmp_path))
    chosen = cells(grid, read_section("", PROJECT / "params.yaml"))
    values = numbers({"ukbench": Metrics(database=scores(0.9, ukbench_score=3.6))})
    rows = [row for row in table(grid, [Measured(chosen[0], "a", "ran", values)]) if row["benchmark"] == "ukbench"]
    assert [(row["database"], row["mAP"]) for row in rows] == [("database, good of 4", "3.6000")]


def test_a_published_map_of_first_results_stands_beside_that_measure(tmp_path: Path) -> None:
    printed = {"where": {}, "benchmark": "ilias", "map": 0.023, "map_of_first": 1000, "source": "x"}
    grid = load_sweep(written(tmp_path, published=[printed]))
    chosen = cells(grid, read_section("", PROJECT / "params.yaml"))
    values = numbers({"ilias": Metrics(database=scores(0.9, map_at_1000=0.03, map_at_chance=0.001))})
    rows = [row for row in table(grid, [Measured(chosen[0], "a", "ran", values)]) if row["benchmark"] == "ilias"]
    assert [(row["database"], row["mAP"], row["published"]) for row in rows] == [("database, mAP@1000", "0.0300", "0.023")]


def test_published_rows_of_other_methods_stand_at_the_end(tmp_path: Path) -> None:
    grid = load_sweep(written(tmp_path, reference=[{"row": "another", "benchmark": "oxford5k", "map": 0.9, "source": "three"}]))
    rows = table(grid, [])
    assert [(row["pooling"], row["whitening"], row["published"], row["state"]) for row in rows] == [("another", "", "0.9", "published only")]


def test_cells_have_intervals_and_are_compared_with_their_baseline(tmp_path: Path) -> None:
    grid = load_sweep(written(tmp_path, baseline={"whitening": "none"}))
    chosen = cells(grid, read_section("", PROJECT / "params.yaml"))
    random = np.random.default_rng(0)
    values = {cell.title: random.random(30) for cell in chosen}
    results = []
    for cell in chosen:
        own = {f"q{index:02}": float(value) for index, value in enumerate(values[cell.title])}
        per_query = {("gallery", "database"): {"map": own, "precision_at_1": {query: float(value > 0.5) for query, value in own.items()}}}
        measured = {("gallery", "database"): {"map": float(values[cell.title].mean()), "precision_at_1": 0.5}}
        results.append(Measured(cell, "e", "ran", measured, per_query))
    found = measure_intervals(PROJECT, grid, results)
    rows = [row for row in table(grid, results, found) if row["state"] == "ran"]
    for row, cell in zip(rows, chosen, strict=True):
        before, after = values[f"{cell.labels['pooling']}, none"], values[cell.title]
        mean = paired_difference(np.zeros(30), after)
        assert row["mAP, 95 %"] == f"{mean.low:.4f} to {mean.high:.4f}"
        if cell.labels["whitening"] == "none":
            assert row["mAP − baseline"] == ""
        else:
            pair = paired_difference(before, after)
            star = "*" if pair.certain else ""
            assert row["mAP − baseline"] == f"{pair.mean:+.4f} ({pair.low:+.4f} to {pair.high:+.4f}){star}"
            assert row["P@1 − baseline"]
    with pytest.raises(ParameterError, match="where whitening: all: there are only the labels of whitening: "):
        load_sweep(written(tmp_path, baseline={"whitening": "all"}))
