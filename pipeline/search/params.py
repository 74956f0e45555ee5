"""The section `search` of params.yaml."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.reranking.params import AugmentationParameters, ExpansionParameters, RerankParameters
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, Section

Distance = Literal["dot", "l2", "squared_l2", "l1"]


class SearchParameters(Section):
    """How queries are compared with the database, and what follows the first search."""

    top_k: int = Field(100, ge=1, le=100000, description="results kept per query; mAP is exact whatever it is")
    distance: Distance | None = Field(None, description="of descriptors; null: dot, and l2 between patches. Codes have the Hamming distance")
    query_levels: int = Field(3, ge=1, le=10, description="of a query's patches that are compared (jittering); 1: the whole query")
    shortlist: int | None = Field(
        None, ge=1, description="of patches: images whose patches are compared, the best by `candidates`; the others are not found. null: all"
    )
    candidates: Literal["whole_image", "sum"] = Field("sum", description="what the shortlist is made by: the first patch, or the sum of all")
    index: Literal["flat", "inverted"] = Field(
        "flat", description="faiss index that makes the shortlist: exact, or inverted lists, learned on held-out images"
    )
    probes: int = Field(16, ge=1, description="inverted lists that are looked at")
    accept_unknown: float = Field(0.05, gt=0, lt=1, description="share of photographs of unknown objects that may be taken for known ones")
    augmentation: AugmentationParameters = AugmentationParameters()
    expansion: ExpansionParameters = ExpansionParameters()
    rerank: RerankParameters = RerankParameters()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shortlist is not None and self.top_k > self.shortlist:
            raise ValueError(f"top_k {self.top_k} is more than the {self.shortlist} images of the shortlist")
        if self.refined and self.distance == "l1":
            raise ValueError(f"distance l1 does not go with {self.refined[0]}, which compares by products; use dot or l2")
        return self

    @property
    def refined(self) -> list[str]:
        """Paths of what is done beyond comparing every descriptor once."""
        own = {
            "augmentation.neighbours": self.augmentation.neighbours,
            "augmentation.instances": self.augmentation.instances != "none",
            "expansion.results": self.expansion.results,
        }
        return [path for path, used in own.items() if used] + (["rerank.method"] if self.rerank.chosen else [])

    @property
    def words(self) -> list[str]:
        """What is done beyond comparing every descriptor once, for people."""
        expanded = [f"queries expanded by {self.expansion.results} results"] if self.expansion.results else []
        return [*self.augmentation.words, *expanded, *self.rerank.words]

    def in_use(self) -> dict[str, Any]:
        """What decides numbers, without the ways of re-ranking that are not in use."""
        return self.model_dump() | {"rerank": self.rerank.in_use()}

    def distance_of(self, patches: bool) -> Distance:
        """The distance in use."""
        return self.distance or ("l2" if patches else "dot")


def refuse_unsearchable(parameters: SearchParameters, patch_levels: int, codes: str | None, origin: str = str(PARAMS_FILE)) -> None:
    """Refuse what descriptors cannot be searched by.

    Args:
        patch_levels: 0 where they are of whole images.
        codes: the method that made codes of them; None where there are none.

    Raises:
        ParameterError: refinements or a distance that codes or patches do not allow, a shortlist of whole images, or more levels of the queries
            than there are.
    """
    if codes and parameters.distance is not None:
        raise ParameterError(f"{origin}: search.distance: codes are compared by the Hamming distance; set it to null with hash.method {codes}")
    if (codes or patch_levels) and parameters.refined:
        raise ParameterError(
            f"{origin}: search.{parameters.refined[0]}: {'codes' if codes else 'patches'} are compared once; "
            "only real-valued descriptors of whole images are augmented, expanded and re-ranked; "
            f"set it to {'none' if parameters.refined[0] in ('rerank.method', 'augmentation.instances') else 0}"
        )
    if not patch_levels and parameters.shortlist is not None:
        raise ParameterError(f"{origin}: search.shortlist: only patches are searched in two steps; set it to null with other methods")
    if patch_levels and parameters.query_levels > patch_levels:
        raise ParameterError(f"{origin}: search.query_levels: {parameters.query_levels} is more than the {patch_levels} of extract.patch_levels")
