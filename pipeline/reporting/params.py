"""The sections `report` and `benchmarks` of params.yaml."""

from pathlib import Path

from pydantic import Field

from pipeline.contracts.parameters import PARAMS_FILE, Section, read_section, validate


class ReportParameters(Section):
    best: int = Field(6, ge=0, le=1000, description="best queries shown")
    worst: int = Field(6, ge=0, le=1000, description="worst queries shown, and queries with relevant images ranked last or irrelevant first")
    results: int = Field(8, ge=1, le=100, description="first results shown of each")
    thumbnail: int = Field(120, ge=16, le=1024, description="pixels of a thumbnail's longer side")


class BenchmarkParameters(Section):
    """What is searched, what models are learned on, and what is mixed in: names under `datasets`."""

    dataset: str
    held_out: str
    distractors: str = "none"
    allow_self_learning: bool = False


def load_benchmarks(file: Path | None = None) -> dict[str, BenchmarkParameters]:
    """Every benchmark by name.

    Raises:
        ParameterError: a section does not fit.
    """
    sections = read_section("benchmarks", file) or {}
    return {name: validate(BenchmarkParameters, section, f"benchmarks.{name}", str(file or PARAMS_FILE)) for name, section in sections.items()}
