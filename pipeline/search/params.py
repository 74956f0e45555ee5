"""The section `search` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.errors import ParameterError
from pipeline.contracts.parameters import PARAMS_FILE, Section

Distance = Literal["dot", "l2", "squared_l2", "l1"]


class SearchParameters(Section):
    top_k: int = Field(100, ge=1, le=100000, description="results kept per query; mAP is exact whatever it is")
    distance: Distance | None = Field(None, description="of descriptors; null: dot, and l2 between patches. Codes have the Hamming distance")
    query_levels: int = Field(3, ge=1, le=10, description="of a query's patches that are compared (jittering); 1: the whole query")
    shortlist: int | None = Field(
        None, ge=1, description="of patches: images whose patches are compared, the best by `candidates`; the others are not found. null: all"
    )
    candidates: Literal["whole_image", "sum"] = Field("sum", description="what the shortlist is made by: the first patch, or the sum of all")
    index: Literal["flat", "inverted"] = Field("flat", description="faiss index that makes the shortlist: exact, or inverted lists")
    probes: int = Field(16, ge=1, description="inverted lists that are looked at")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shortlist is not None and self.top_k > self.shortlist:
            raise ValueError(f"top_k {self.top_k} is more than the {self.shortlist} images of the shortlist")
        return self

    def distance_of(self, patches: bool) -> Distance:
        """The distance in use."""
        return self.distance or ("l2" if patches else "dot")


def refuse_form(parameters: SearchParameters, patch_levels: int, origin: str = str(PARAMS_FILE)) -> None:
    """Refuse what descriptors cannot be searched by; `patch_levels` is 0 where they are of whole images.

    Raises:
        ParameterError: a shortlist of whole images, or more levels of the queries than there are.
    """
    if not patch_levels and parameters.shortlist is not None:
        raise ParameterError(f"{origin}: search.shortlist: only patches are searched in two steps; set it to null with other methods")
    if patch_levels and parameters.query_levels > patch_levels:
        raise ParameterError(f"{origin}: search.query_levels: {parameters.query_levels} is more than the {patch_levels} of extract.patch_levels")
