"""What commands print: the benchmarks that params.yaml names, and what others left."""

from pathlib import Path

import pytest

from pipeline.comparison.summary import print_metrics
from pipeline.contracts.metrics import Metrics, Scores
from pipeline.stage import places


def recorded(folder: Path, name: str, mean: float) -> None:
    Metrics(database=Scores(map=mean), database_images=9, queries=3).save(places.metrics(name, folder / "reports"))


def test_benchmarks_that_are_no_longer_named_are_not_shown_and_what_removes_them_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "reports/metrics").mkdir(parents=True)
    (tmp_path / "reports/per_query").mkdir()
    (tmp_path / "reports/per_query/gone.csv").write_text("query_id\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text("benchmarks: {museum: {}, new: {}}\n", encoding="utf-8")
    recorded(tmp_path, "museum", 0.25)
    recorded(tmp_path, "gone", 0.75)
    print_metrics(tmp_path)
    said = capsys.readouterr().out
    assert "0.2500" in said
    assert "0.7500" not in said
    assert "`rm -- reports/metrics/gone.json reports/per_query/gone.csv` removes it" in said


def test_without_results_the_command_that_makes_them_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text("benchmarks: {museum: {}}\n", encoding="utf-8")
    print_metrics(tmp_path)
    assert capsys.readouterr().out == "No metrics yet; run `make repro`.\n"
