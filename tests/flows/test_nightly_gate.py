"""What a nightly run keeps back: a fall of mean average precision that is large and sure."""

from typing import Any

import pytest

from pipeline.stage.errors import PipelineError
from tasks.comparison import Compared, refuse_drops


def compared(mean: float, high: float, name: str = "map") -> Compared:
    paired = {"mean": mean, "low": mean - 0.1, "high": high, "p_value": 0.01}
    metric: dict[str, Any] = {"name": name, "before": 0.5, "after": 0.5 + mean, "paired": paired}
    return Compared("", {"benchmarks": [{"benchmark": "oxford5k", "setting": "database", "metrics": [metric]}], "verdict": ""})


def test_a_large_and_sure_fall_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"mAP fell by more than 0.02: oxford5k database 0.5000 to 0.4500; .* largest_drop: null"):
        refuse_drops(compared(-0.05, -0.01), 0.02)


@pytest.mark.parametrize(("mean", "high", "name"), [(-0.05, 0.01, "map"), (-0.01, -0.005, "map"), (0.1, 0.2, "map"), (-0.5, -0.4, "precision_at_1")])
def test_small_unsure_and_other_falls_pass(mean: float, high: float, name: str) -> None:
    assert refuse_drops(compared(mean, high, name), 0.02)


def test_a_fall_that_cannot_be_tested_is_refused_and_few_queries_are_no_proof() -> None:
    result = compared(-0.05, -0.01)
    metric = result.content["benchmarks"][0]["metrics"][0]
    metric["paired"]["p_value"] = 0.25
    assert refuse_drops(result, 0.02)
    metric["paired"] = None
    with pytest.raises(PipelineError, match="fell by more"):
        refuse_drops(result, 0.02)
