"""The sections `report` and `benchmarks` of params.yaml."""

from pathlib import Path

from pydantic import Field

from pipeline.stage.parameters import PARAMS_FILE, Section, read_section, validate


class ReportParameters(Section):
    """What the page shows of each benchmark."""

    best: int = Field(6, ge=0, le=1000, description="best queries shown")
    worst: int = Field(6, ge=0, le=1000, description="worst queries shown, and queries with relevant images ranked last or irrelevant first")
    results: int = Field(8, ge=1, le=100, description="first results shown of each")
    thumbnail: int = Field(120, ge=16, le=1024, description="pixels of a thumbnail's longer side")


class BenchmarkParameters(Section):
    """What is searched, what models are learned on, and what is mixed in: names under `datasets`."""

    dataset: str = Field(description="a name under `datasets`: database and queries")
    held_out: str = Field(description="a name under `datasets`: what models are learned on")
    distractors: str = Field("none", description="a name under `datasets`: images that show nothing of the queries")
    allow_self_learning: bool = Field(False, description="whether models, or the network, may be learned on the images that are searched")


def load_benchmarks(file: Path | None = None) -> dict[str, BenchmarkParameters]:
    """Every benchmark by name.

    Raises:
        ParameterError: a section does not fit.
    """
    sections = read_section("benchmarks", file) or {}
    return {name: validate(BenchmarkParameters, section, f"benchmarks.{name}", str(file or PARAMS_FILE)) for name, section in sections.items()}
