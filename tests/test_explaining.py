"""What `retrieval explain` says of parameters that params.yaml names, that it leaves at their defaults, and that there are not."""

from pathlib import Path

import pytest

from pipeline.explaining import explain
from pipeline.stage.errors import ParameterError

PARAMS = """
aggregate:
  method: gem
  gem: {power: 3.0, whitening: none, dimensions: null}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS, encoding="utf-8")
    return path


def test_a_parameter_with_its_value(file: Path) -> None:
    first, *rest = explain("aggregate.gem.power", file)
    assert first == "aggregate.gem.power = 3.0"
    assert rest == ["  allowed: a number, more than 0, at most 100", "  default: 3.0"]
    assert explain("aggregate.gem.dimensions", file)[0] == "aggregate.gem.dimensions = null", "named, and null"


def test_a_parameter_that_the_file_leaves_at_its_default(file: Path) -> None:
    for path, default in (("aggregate.gem.shrinkage", "0.0"), ("aggregate.gem.adaptation.least_steps", "1000")):
        first, *rest = explain(path, file)
        assert first == f"{path}: not in {file}, which leaves it at its default"
        assert rest[-1] == f"  default: {default}"


def test_a_section_names_what_is_in_it(file: Path) -> None:
    lines = explain("aggregate.gem.adaptation", file)
    assert lines[0] == "aggregate.gem.adaptation"
    assert "  learning_rate: of Adam" in lines


def test_an_unknown_parameter_is_refused_with_those_that_there_are(file: Path) -> None:
    with pytest.raises(ParameterError, match=r"aggregate\.gem\.strength: no such parameter; there are: .*power"):
        explain("aggregate.gem.strength", file)
