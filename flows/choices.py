"""What can be chosen on the page of the Prefect server: the stages and grids that the checkout has when `retrieval setup` describes the flows."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from pipeline.stage.errors import PipelineError
from pipeline.stage.parameters import read_section
from pipeline.stage.yaml_text import parse_yaml


def one_of(values: list[str]) -> Any:
    """Says in a flow's schema what a parameter may be; the flow itself takes any text, and refuses what it does not know by name."""
    return Field(json_schema_extra={"enum": list[JsonValue](values)}) if values else Field()


def stage_choices(root: Path) -> list[str]:
    """Kinds of stages in the order of dvc.yaml, each with its stages."""
    try:
        stages = parse_yaml((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        found = []
        for kind, content in stages.items():
            keys = read_section(content["foreach"].strip("${}"), root / "params.yaml") if "foreach" in content else ()
            found += [kind, *(f"{kind}@{key}" for key in keys or ())]
    except (PipelineError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # the run itself says what is wrong with the files
    return found


def grid_choices(root: Path) -> list[str]:
    """The grids of experiments/, without the files that they share."""
    return [f"experiments/{path.name}" for path in sorted((root / "experiments").glob("*.yaml")) if not path.stem.endswith("_base")]


StageName = Annotated[str, one_of(stage_choices(Path()))]
GridFile = Annotated[str, one_of(grid_choices(Path()))]
"""Types of parameters, of the checkout that is the current folder when the flows are imported."""
