"""The section `evaluate` of params.yaml."""

from typing import Literal

from pydantic import Field, field_validator

from pipeline.stage.parameters import Section


class EvaluateParameters(Section):
    """How rankings are scored."""

    rule: Literal["trapezoid", "plain"] = Field("trapezoid", description="the AP that `map` reports; the other one is reported as well")
    precision_at: tuple[int, ...] = Field((1, 5, 10), strict=False)
    recall_at: tuple[int, ...] = Field((1, 10, 100), strict=False)
    map_at: tuple[int, ...] = Field((), strict=False, description="first results of a truncated mAP, as mAP@100; some protocols have their own")
    found_at: tuple[int, ...] = Field((), strict=False, description="first results of which one is relevant, as Recall@k of metric learning")
    chance_margin: float = Field(0.02, ge=0, le=1, description="warn when mAP is less than this share of the way from chance level to 1")

    @field_validator("precision_at", "recall_at", "map_at", "found_at")
    @classmethod
    def _ranks(cls, ranks: tuple[int, ...]) -> tuple[int, ...]:
        if any(rank < 1 for rank in ranks) or len(set(ranks)) < len(ranks):
            raise ValueError("expected distinct numbers of results, from 1")
        return ranks
