"""What follows a first search: the parts `augmentation`, `expansion` and `rerank` of the section `search`."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.stage.parameters import Section

Weights = Literal["uniform", "rank", "similarity"]


class AugmentationParameters(Section):
    """Database-side augmentation: every image's descriptor becomes a weighted mean of itself and its neighbours."""

    neighbours: int = Field(0, ge=0, le=1000, description="0: none; the descriptors are then held in memory, twice")
    instances: Literal["none", "mean", "weighted"] = Field(
        "none", description="instead of neighbours: the mean of the instance's images, or a sum of them weighted by rank"
    )
    weights: Weights = Field("rank", description="rank: (k + 1 − r) / (k + 1) for the r-th neighbour; similarity: cosine to the power alpha")
    alpha: float = Field(3.0, ge=0, le=100)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.neighbours and self.instances != "none":
            raise ValueError("neighbours and instances do not go together; set neighbours to 0 or instances to none")
        return self

    @property
    def used(self) -> bool:
        return bool(self.neighbours) or self.instances != "none"

    @property
    def words(self) -> list[str]:
        """What is done, for people; empty where nothing is."""
        if self.neighbours:
            return [f"database augmented by {self.neighbours} neighbours"]
        return {"mean": ["images averaged by instance"], "weighted": ["images augmented within their instance"]}.get(self.instances, [])


class ExpansionParameters(Section):
    """Query expansion: the query becomes a weighted mean of itself and its first results, and everything is searched again."""

    results: int = Field(0, ge=0, le=1000, description="0: none")
    weights: Weights = Field("uniform", description="uniform: average query expansion; similarity: cosine to the power alpha (α-weighted)")
    alpha: float = Field(3.0, ge=0, le=100)
    rounds: int = Field(1, ge=1, le=10)


class NoRerankParameters(Section):
    """The first step's order stands."""


class WeightsFile(Section):
    """A file of weights on this machine."""

    location: str = Field(min_length=1, description="a safetensors or state-dict file, from the folder that RETRIEVAL_DATA names")
    sha256: str = Field(pattern="^[0-9a-f]{8,64}$", description="of the file, or its first digits")


class ShortlistParameters(Section):
    """What every way of re-ranking has; images outside the shortlist keep their order, behind it."""

    shortlist: int = Field(1000, ge=1, le=20000, description="images that are re-ranked, the best of the first step")

    @property
    def averaged(self) -> int:
        """Re-ranked images that the query is averaged with; 0 where that is not done."""
        return 0

    @property
    def looks(self) -> bool:
        """Whether photographs or maps are looked at again."""
        return False

    @property
    def weights(self) -> dict[str, WeightsFile]:
        """Files of weights by parameter."""
        return {}


class ExpandedParameters(ShortlistParameters):
    """Those with query expansion over the shortlist."""

    expansion: int = Field(
        0, ge=0, le=1000, description="first re-ranked images (boxes) that are averaged with the query and compared with the shortlist"
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.expansion > self.shortlist:
            raise ValueError(f"expansion {self.expansion} is more than the {self.shortlist} images of the shortlist")
        return self

    @property
    def averaged(self) -> int:
        return self.expansion


class LocalizationParameters(ExpandedParameters):
    """Boxes by approximate max-pooling, compared by their descriptors (Tolias et al., 2016, §4; paper 2, §4)."""

    @property
    def looks(self) -> bool:
        return True

    exponent: float = Field(10.0, ge=1, le=15, description="of the generalised mean that stands for the maximum")
    step: int = Field(3, ge=1, le=64, description="cells between the corners of candidate boxes")
    aspect: float = Field(1.1, ge=1, description="largest ratio of a candidate's aspect to the query's")
    refinement: int = Field(3, ge=0, le=64, description="cells by which each side is moved to refine")
    iterations: int = Field(5, ge=0, le=100, description="rounds over the four sides")


class SpatialVerificationParameters(ShortlistParameters):
    """Counts key points that one transformation brings from the query to the image (RANSAC)."""

    @property
    def looks(self) -> bool:
        return True

    shortlist: int = Field(100, ge=1, le=20000, description="images that are verified, the best of the first step")
    local_features: Literal["sift", "xfeat", "aliked", "disk"] = Field(
        "sift", description="SIFT, matched by the ratio test, or learned ones, matched by LightGlue: XFeat with LighterGlue, ALIKED (n16), DISK"
    )
    detector: WeightsFile | None = Field(None, description="of learned local features; null for sift")
    matcher: WeightsFile | None = Field(None, description="the LightGlue that was trained for them; null for sift")
    key_points: int = Field(1000, ge=4, le=100000, description="strongest key points of an image")
    ratio: float = Field(0.8, gt=0, le=1, description="sift: of the distances of the nearest and the second nearest descriptor, at most")
    score: float = Field(0.1, ge=0, lt=1, description="learned ones: that LightGlue gives a pair, at least")
    transformation: Literal["affine", "homography"] = "affine"
    threshold: float = Field(8.0, gt=0, description="pixels by which an inlier may miss its place")
    inliers: int = Field(6, ge=3, description="fewer verify nothing, and the image keeps its order behind the verified ones")

    @model_validator(mode="after")
    def _weights(self) -> Self:
        learned = self.local_features != "sift"
        if learned and (self.detector is None or self.matcher is None):
            raise ValueError(f"local_features {self.local_features} needs detector and matcher, each with location and sha256")
        if not learned and self.weights:
            raise ValueError(f"sift has no weights; set {' and '.join(self.weights)} to null")
        return self

    @property
    def weights(self) -> dict[str, WeightsFile]:
        return {name: own for name, own in (("detector", self.detector), ("matcher", self.matcher)) if own is not None}


class KReciprocalParameters(ExpandedParameters):
    """Jaccard distance of k-reciprocal neighbours (Zhong et al., 2017)."""

    shortlist: int = Field(1000, ge=1, le=5000, description="images that are re-ranked; all pairs of them are compared")
    nearest: int = Field(20, ge=1, le=1000, description="k1")
    local: int = Field(6, ge=1, le=1000, description="k2, neighbours over which neighbourhoods are averaged")
    balance: float = Field(0.3, ge=0, le=1, description="share of the descriptors' own distance")

    @model_validator(mode="after")
    def _nested(self) -> Self:
        if self.local > self.nearest:
            raise ValueError(f"local {self.local} is more than nearest {self.nearest}")
        return self


class DiffusionParameters(ExpandedParameters):
    """Diffusion on the mutual neighbour graph of the shortlist (Iscen et al., 2017)."""

    shortlist: int = Field(1000, ge=1, le=5000, description="images that are re-ranked; all pairs of them are compared")
    nearest: int = Field(50, ge=1, le=1000, description="neighbours of an image in the graph")
    query_nearest: int = Field(10, ge=1, le=1000, description="neighbours of the query, from which it starts")
    damping: float = Field(0.99, gt=0, lt=1, description="share that goes on at every step (α of the paper)")
    exponent: float = Field(3.0, gt=0, le=100, description="of the cosines between neighbours (γ)")
    iterations: int = Field(20, ge=1, le=1000, description="of the conjugate gradients")


class RefinedDescriptorsParameters(ShortlistParameters):
    """Descriptors refined by their neighbours (SuperGlobal, Shao et al., 2023)."""

    shortlist: int = Field(400, ge=1, le=5000, description="images that are re-ranked (M); all pairs of them are compared")
    neighbours: int = Field(9, ge=1, le=1000, description="that refine the descriptor of an image (K)")
    weight: float = Field(0.15, ge=0, le=1, description="of a neighbour, times its product with the image (β)")
    best: int = Field(10, ge=0, le=1000, description="refined descriptors whose maximum asks as well, neighbours + 1 as published; 0: none")


class RerankParameters(Section):
    """The method in use, and one section per method."""

    method: Literal["none", "localization", "spatial_verification", "k_reciprocal", "diffusion", "refined_descriptors"] = "none"
    none: NoRerankParameters = NoRerankParameters()
    localization: LocalizationParameters = LocalizationParameters()
    spatial_verification: SpatialVerificationParameters = SpatialVerificationParameters()
    k_reciprocal: KReciprocalParameters = KReciprocalParameters()
    diffusion: DiffusionParameters = DiffusionParameters()
    refined_descriptors: RefinedDescriptorsParameters = RefinedDescriptorsParameters()

    @property
    def chosen(self) -> ShortlistParameters | None:
        """The section of the method in use; None without re-ranking."""
        section = getattr(self, self.method)
        return section if isinstance(section, ShortlistParameters) else None

    @property
    def words(self) -> list[str]:
        """What is done, for people; empty without re-ranking."""
        if self.chosen is None:
            return []
        told = [f"first {self.chosen.shortlist} re-ranked by {self.method.replace('_', ' ')}"]
        return told + ([f"compared again with the mean of the first {self.chosen.averaged}"] if self.chosen.averaged else [])

    def in_use(self) -> dict[str, Any]:
        """What decides numbers."""
        return {"method": self.method, self.method: getattr(self, self.method).model_dump()}
