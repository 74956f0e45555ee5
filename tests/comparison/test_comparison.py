"""Comparing two snapshots: what differs is said with its certainty, what does not is said as well."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.comparison.comparing import Comparison, compare
from pipeline.comparison.page import render
from pipeline.comparison.snapshot import load_snapshot
from pipeline.comparison.texts import markdown, rows, verdict
from pipeline.contracts.images.image_shards import KIND, StoredImage, image_columns, image_writer
from pipeline.contracts.rankings import COUNTS_SCHEMA, RANKING_SCHEMA
from pipeline.reporting.retrievals import Hit
from pipeline.stage.manifest import Manifest, describe_parts
from pipeline.stage.tables import write_table
from tests.pictures import encoded


def snapshot(folder: Path, shift: float = 0.0, method: str = "rmac", code: str = "aa", queries: int = 30) -> Path:
    """A snapshot whose queries' average precision is shifted."""
    for name in ("metrics", "per_query"):
        (folder / "reports" / name).mkdir(parents=True)
    values = np.clip(np.linspace(0.2, 0.8, queries) + shift, 0, 1)
    rows = [f"q{index},database,{value:.6f},{value:.6f},{value:.6f},1.000000,4,0" for index, value in enumerate(values)]
    header = "query_id,setting,ap,ap_trapezoid,ap_plain,precision_at_1,positives,first_positive"
    (folder / "reports/per_query/museum.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    numbers = {"map": float(values.mean()), "map_plain": float(values.mean()), "precision_at_1": 1.0, "scored_queries": queries}
    metrics = {"database_images": 9, "distractors": 0, "database": numbers}
    (folder / "reports/metrics/museum.json").write_text(json.dumps(metrics), encoding="utf-8")
    parameters = {"benchmarks": {"museum": {"dataset": "museum"}}, "aggregate": {"method": method, "rmac": {"whole_map": False}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters), encoding="utf-8")
    stage: dict[str, Any] = {
        "cmd": "run",
        "deps": [{"path": "pipeline/search", "md5": code}, {"path": "data/descriptors/museum", "md5": "d"}],
        "params": {"params.yaml": {"aggregate.method": method}},
        "outs": [{"path": "data/rankings/museum", "md5": f"{shift}"}],
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"search@museum": stage}}), encoding="utf-8")
    (folder / "about.json").write_text(json.dumps({"title": folder.name, "seconds": {"search@museum": 1.5}}), encoding="utf-8")
    return folder


def compared(before: Path, after: Path) -> Comparison:
    return compare(load_snapshot(before), load_snapshot(after))


def test_a_gain_of_every_query_is_certain_and_its_causes_are_named(tmp_path: Path) -> None:
    result = compared(snapshot(tmp_path / "old"), snapshot(tmp_path / "new", shift=0.1, method="mac", code="bb"))
    mean = result.benchmarks[0].metrics[0]
    assert mean.paired is not None
    assert mean.after - mean.before == pytest.approx(0.1)
    assert mean.paired.certain
    assert (mean.paired.gained, mean.paired.lost) == (30, 0)
    assert [(each.path, each.before, each.after) for each in result.parameters] == [("aggregate.method", "rmac", "mac")]
    assert result.code == ["pipeline/search"]
    assert result.stages[0].differs == ("parameters", "code", "results")
    assert (result.stages[0].before_seconds, result.stages[0].after_seconds) == (1.5, 1.5)
    assert verdict(result) == "Differs by more than chance: museum database mAP +0.1000; museum database mAP plain +0.1000."
    text = re.sub(r" +", " ", markdown(result))
    assert "| museum | database | mAP | 0.5000 | 0.6000 | +0.1000 | +0.1000 to +0.1000 | 0.0001 | 30 | 0 |" in text
    assert "| aggregate.method | rmac | mac |" in text
    assert len(result.benchmarks[0].gained) == 5


def test_what_alters_nothing_is_said_to(tmp_path: Path) -> None:
    result = compared(snapshot(tmp_path / "old"), snapshot(tmp_path / "new", code="bb"))
    assert not result.metrics_differ
    assert verdict(result) == "No metric differs, nor the result of any query, in 1 benchmark."
    assert result.code == ["pipeline/search"]


def test_a_benchmark_that_params_yaml_does_not_name_is_not_compared(tmp_path: Path) -> None:
    old, new = snapshot(tmp_path / "old"), snapshot(tmp_path / "new", shift=0.1)
    for name in ("metrics/museum.json", "per_query/museum.csv"):
        file = new / "reports" / name
        file.with_stem("gone").write_bytes(file.read_bytes())
    assert [benchmark.benchmark for benchmark in compared(old, new).benchmarks] == ["museum"]


def test_other_queries_are_counted_and_a_new_benchmark_is_named(tmp_path: Path) -> None:
    result = compared(snapshot(tmp_path / "old", queries=10), snapshot(tmp_path / "new", queries=12))
    assert result.benchmarks[0].unpaired == 2
    assert result.metrics_differ
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/about.json").write_text('{"title": "empty", "seconds": {}}', encoding="utf-8")
    result = compared(tmp_path / "empty", tmp_path / "new")
    assert result.only_after == ["museum database"]
    assert result.stages[0].differs == ("new",)


def test_differences_are_of_the_queries_that_both_sides_have(tmp_path: Path) -> None:
    """All shared queries gain; new ones that are hard pull the mean down."""
    old, new = snapshot(tmp_path / "old", queries=30), snapshot(tmp_path / "new", shift=0.02, queries=30)
    table = new / "reports/per_query/museum.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, *(f"hard{index},database,0.0,0.0,0.0,0.0,4,9" for index in range(30))]) + "\n", encoding="utf-8")
    metrics = json.loads((new / "reports/metrics/museum.json").read_text(encoding="utf-8"))
    metrics["database"]["map"] /= 2
    (new / "reports/metrics/museum.json").write_text(json.dumps(metrics), encoding="utf-8")
    result = compared(old, new)
    assert "museum database mAP +0.0200" in verdict(result)
    assert [row[5] for row in rows(result) if row[2] == "mAP"] == ["+0.0200"]
    assert "30 queries are on one side only; differences, intervals and p are of the others" in markdown(result)


def test_the_page_shows_pictures_of_the_queries_and_escapes_text(tmp_path: Path) -> None:
    old, new = snapshot(tmp_path / "old"), snapshot(tmp_path / "new", shift=0.1)
    content = json.loads((new / "about.json").read_text(encoding="utf-8")) | {"title": "<script>"}
    (new / "about.json").write_text(json.dumps(content), encoding="utf-8")
    comparison = compared(old, new)
    shown = comparison.benchmarks[0].gained[0].query_id
    results = {("museum", "database", shown): ([Hit("<a>", 0, "irrelevant", 0.9)], [Hit("q0", 0, "relevant", 0.8, (10.0, 20.0, 30.0, 40.0))])}
    page = render(comparison, results, {"q0": "data:image/jpeg;base64,AA"}, 120)
    assert page.count('<figure class="query">') == 5
    assert page.count("<strong>before</strong>") == page.count("<strong>after</strong>") == 1
    assert page.index("<strong>before</strong>") < page.index('<figure class="irrelevant">') < page.index("<strong>after</strong>")
    assert page.index("<strong>after</strong>") < page.index('<figure class="relevant">')
    assert 'style="left:10.0%;top:20.0%;width:30.0%;height:40.0%"' in page
    assert "<script>" not in page
    assert "&lt;a&gt;" in page
    assert "&lt;script&gt;" in page


def rankings(folder: Path, found: str) -> None:
    """Rankings in which every query finds one image; q28 is relevant to all, q29 to none."""
    rows = [(f"q{index}", 0, found, 0.5, *(None,) * 4) for index in range(30)]
    write_table(folder / "ranking-database.parquet", "ranking", RANKING_SCHEMA, dict(zip(RANKING_SCHEMA.names, zip(*rows, strict=True), strict=True)))
    counts = [(f"q{index}", "q28", "good", 0.5, 0, 1) for index in range(30)]
    write_table(folder / "counts-database.parquet", "counts", COUNTS_SCHEMA, dict(zip(COUNTS_SCHEMA.names, zip(*counts, strict=True), strict=True)))


@pytest.mark.slow
def test_the_command_writes_every_form_with_pictures_from_the_image_shards(workplace: Path) -> None:
    snapshot(workplace / "old")
    snapshot(workplace / "new", shift=0.1)
    images = workplace / "data/images/museum"
    images.mkdir(parents=True)
    with image_writer(images / "part-00000.parquet") as writer:
        writer.write(image_columns([StoredImage(f"q{index}", encoded(index, 40, 30, "PNG"), 40, 30, 1.0) for index in range(30)]))
    Manifest(KIND, describe_parts(images, ["part-00000.parquet"]), {}).save(images)
    for side, found in (("old", "q29"), ("new", "q28")):
        rankings(Path(side) / "data/rankings/museum", found)
    command = [sys.executable, "-m", "pipeline.comparison", "old", "new", "--markdown", "c.md", "--html", "c.html", "--json", "c.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "+0.1000" in done.stdout
    page = Path("c.html").read_text(encoding="utf-8")
    assert page.count('<figure class="relevant">') == page.count('<figure class="irrelevant">') == 5, "one result before and another after"
    assert page.count("data:image/jpeg;base64,") == 15
    content = json.loads(Path("c.json").read_text(encoding="utf-8"))
    assert content["metrics_differ"] is True
    assert content["benchmarks"][0]["metrics"][0]["paired"]["queries"] == 30
    assert Path("c.md").read_text(encoding="utf-8").startswith("**old** → **new**")
