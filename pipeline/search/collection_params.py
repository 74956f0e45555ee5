"""The section `collection` of params.yaml: how a collection finds its answers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.search.params import SearchParameters
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, Section

IndexKind = Literal["flat", "hnsw", "ivf_pq", "scalar", "multi_index"]
OF_VECTORS, OF_CODES = ("flat", "hnsw", "ivf_pq", "scalar"), ("flat", "multi_index")
FLAT_UP_TO, GRAPH_UP_TO = 100_000, 2_000_000
"""Images up to which `auto` compares every one, and up to which it links them in a graph, whose vectors stay in memory."""


class HnswParameters(Section):
    """A graph of near neighbours, whose vectors are kept as float16 (Malkov and Yashunin, 2018)."""

    neighbours: int = Field(32, ge=4, le=256, description="links of an image (M)")
    construction: int = Field(200, ge=8, le=10000, description="images that are looked at for the links of one")
    search: int = Field(256, ge=1, le=100000, description="images that are looked at for an answer")


class IvfPqParameters(Section):
    """Inverted lists of product-quantised vectors, both learned on held-out descriptors (Jégou et al., 2011)."""

    lists: int | None = Field(None, ge=1, description="null: 4√N of N images, as far as there are 39 held-out descriptors for each")
    probes: int = Field(128, ge=1, description="lists that are looked at")
    code_bytes: int = Field(64, ge=1, le=512, description="of a vector; a divisor of its dimensions, or the next smaller one is taken")


class ScalarParameters(Section):
    """Every vector is compared with few bits per dimension, whose ranges are learned on held-out descriptors."""

    bits: Literal[4, 6, 8] = Field(8, description="per dimension")


class MultiIndexParameters(Section):
    """Codes are looked up by their parts, each of which may differ in a few bits (Norouzi et al., 2012)."""

    part_bits: int = Field(16, ge=4, le=32, description="of a part of the code that is looked up")
    radius: int = Field(2, ge=0, le=8, description="bits by which a part may differ")


class CollectionParameters(Section):
    """The index of the kind in use counts, the others do not."""

    index: Literal["auto", "flat", "hnsw", "ivf_pq", "scalar", "multi_index"] = Field(
        "auto",
        description="flat compares every image; hnsw, ivf_pq and scalar are of descriptors, multi_index of codes; auto decides by size",
    )
    candidates: int = Field(200, ge=1, le=100000, description="first results of an index that is not flat that are compared again, exactly")
    thumbnail: int = Field(240, ge=16, le=1024, description="pixels of a thumbnail's longer side")
    hnsw: HnswParameters = HnswParameters()
    ivf_pq: IvfPqParameters = IvfPqParameters()
    scalar: ScalarParameters = ScalarParameters()
    multi_index: MultiIndexParameters = MultiIndexParameters()

    @model_validator(mode="after")
    def _enough_looked_at(self) -> Self:
        if self.index == "hnsw" and self.hnsw.search < self.candidates:
            raise ValueError(f"hnsw.search {self.hnsw.search} is less than the {self.candidates} candidates that it has to find")
        return self

    def kind_for(self, images: int, *, codes: bool) -> IndexKind:
        """The index in use."""
        if self.index != "auto":
            return self.index
        if images <= FLAT_UP_TO or (codes and images <= GRAPH_UP_TO):
            return "flat"
        return "multi_index" if codes else "hnsw" if images <= GRAPH_UP_TO else "ivf_pq"


def refuse_index(parameters: CollectionParameters, search: SearchParameters, *, codes: bool, origin: str = str(PARAMS_FILE)) -> None:
    """Refuse an index of another kind of rows, or one that does not go with the distance.

    Raises:
        ParameterError: it is.
    """
    kind, allowed = parameters.index, OF_CODES if codes else OF_VECTORS
    if kind not in ("auto", *allowed):
        what = "codes" if codes else "descriptors"
        raise ParameterError(f"{origin}: collection.index: {kind} is no index of {what}; allowed: auto, {', '.join(allowed)}")
    if kind not in ("auto", "flat") and search.distance == "l1":
        raise ParameterError(f"{origin}: collection.index: {kind} ranks by products; set it to flat with search.distance l1")
