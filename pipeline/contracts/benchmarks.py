"""The section `benchmarks` of params.yaml: which data sets each benchmark is made of."""

from pathlib import Path

from pydantic import Field

from pipeline.stage.parameters import PARAMS_FILE, Section, read_section, validate


class BenchmarkParameters(Section):
    """What is searched, what models are learned on, and what is mixed in: names under `datasets`."""

    dataset: str = Field(description="a name under `datasets`: database and queries")
    held_out: str = Field(description="a name under `datasets`: what models are learned on")
    distractors: str = Field("none", description="a name under `datasets`: images that show nothing of the queries")
    kept_back: float = Field(0.0, ge=0, le=0.5, description="share of the held-out objects that nothing learns from: they calibrate what is unknown")
    allow_self_learning: bool = Field(False, description="whether models, or the network, may be learned on what is searched")


def load_benchmark(name: str, *fields: str) -> BenchmarkParameters:
    """The named fields of one benchmark, those that the calling stage depends on; the others have no meaning.

    Raises:
        ParameterError: there is none of that name, or its section does not fit.
    """
    path = f"benchmarks.{name}"
    values = {field: read_section(f"{path}.{field}") for field in fields}
    return validate(BenchmarkParameters, {"dataset": "", "held_out": ""} | values, path)


def load_benchmarks(file: Path | None = None) -> dict[str, BenchmarkParameters]:
    """Every benchmark by name.

    Raises:
        ParameterError: a section does not fit.
    """
    sections = read_section("benchmarks", file) or {}
    return {name: validate(BenchmarkParameters, section, f"benchmarks.{name}", str(file or PARAMS_FILE)) for name, section in sections.items()}
