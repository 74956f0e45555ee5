"""The section `aggregate` of params.yaml: the method in use, and one section per method; and the section `mask_study`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.features.storage import STORED, Storage
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE, Section, load_section, read_section

WhiteningName = Literal["none", "pca", "pca_whitening"]
Counts = Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(strict=False)]


class MethodParameters(Section):
    """What every method says of itself before anything of it is imported."""

    @property
    def learns(self) -> bool:
        """Whether a held-out set is needed."""
        return True

    @property
    def needs_pictures(self) -> bool:
        """Whether the photographs are looked at in addition to their maps."""
        return False

    @property
    def adopts(self) -> bool:
        """Whether parts of the active network are taken over."""
        return False

    @property
    def layers(self) -> tuple[str, ...] | None:
        """What `network.layers` has to name; None: any layers."""
        return None


class AdaptationParameters(Section):
    """How a linear adaptation is trained: as ILIAS's code does on a million images."""

    epochs: int = Field(5, ge=1, le=100_000, description="passes over the held-out images")
    least_steps: int = Field(1000, ge=1, le=1_000_000, description="of gradient descent: few images are passed over more often than `epochs` says")
    batch: int = Field(128, ge=1, description="images per step of gradient descent")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    weight_decay: float = Field(1e-6, ge=0)
    scale: float = Field(16.0, gt=0, description="of the cosines before the softmax")
    seed: int = Field(0, ge=0, description="of the first weights and of the order of images")


class WhitenedParameters(MethodParameters):
    """What every method may do to its final vector."""

    whitening: Literal[WhiteningName, "learned", "adaptation"] = Field(
        "none", description="learned: from pairs of held-out images of one instance; adaptation: a linear layer trained by their instances"
    )
    dimensions: int | None = Field(None, ge=1, description="of the final vector; null: as many as the held-out set allows")
    shrinkage: float = Field(0.0, ge=0, le=1, description="share of the mean eigenvalue mixed into the spectrum; no part of an adaptation")
    adaptation: AdaptationParameters = AdaptationParameters()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.whitening == "none" and self.dimensions is not None:
            raise ValueError("dimensions needs whitening: pca, pca_whitening, learned or adaptation")
        if self.whitening == "adaptation" and self.shrinkage:
            raise ValueError(f"shrinkage {self.shrinkage:g} has no spectrum to change with whitening: adaptation; set it to 0")
        return self

    @property
    def learns(self) -> bool:
        return self.whitening != "none"


class MacParameters(WhitenedParameters):
    """Maximum of every channel."""


class SpocParameters(WhitenedParameters):
    """Sum pooling."""

    centre_prior: bool = Field(False, description="weigh locations by a Gaussian around the map's centre")


class GemParameters(WhitenedParameters):
    """Generalised mean."""

    power: float = Field(3.0, gt=0, le=100)


class SuperGlobalParameters(MethodParameters):
    """Regional, whole and scale generalised means of SuperGlobal."""

    power: float = Field(4.6, gt=0, le=100, description="of the generalised mean over the map (GeM+)")
    region_power: float = Field(2.5, gt=0, le=100, description="of those over neighbourhoods (regional GeM)")
    region_side: int = Field(5, ge=1, le=99, description="of a neighbourhood, in cells; odd")
    whitening: Literal[WhiteningName, "network"] = Field(
        "pca_whitening", description="of the vector of every scale; network: the projection that came with the active network's weights"
    )
    dimensions: int | None = Field(None, ge=1, description="of that vector afterwards; null: as many as the held-out set allows")
    shrinkage: float = Field(0.0, ge=0, le=1, description="share of the mean eigenvalue mixed into the spectrum")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.whitening in ("none", "network") and self.dimensions is not None:
            raise ValueError(f"dimensions needs whitening: pca or pca_whitening, not {self.whitening}; set it to null")
        if self.region_side % 2 == 0:
            raise ValueError(f"region_side {self.region_side} has no middle; set it to an odd number")
        return self

    @property
    def learns(self) -> bool:
        return self.whitening not in ("none", "network")

    @property
    def adopts(self) -> bool:
        return self.whitening == "network"


class ClassTokenParameters(WhitenedParameters):
    """Class token of a transformer, alone or with pooled patch tokens."""

    patches: Literal["none", "mean", "gem"] = Field("none", description="what follows: the mean of the patch tokens, or their generalised mean")
    power: float = Field(3.0, gt=0, le=100, description="of the generalised mean")

    @property
    def layers(self) -> tuple[str, ...]:
        return ("class_token",) if self.patches == "none" else ("class_token", "final")


class SaladParameters(WhitenedParameters):
    """Patch tokens in clusters by optimal transport, next to the class token (SALAD); the head comes with the active network's weights."""

    iterations: int = Field(3, ge=1, le=1000, description="of Sinkhorn's algorithm, which shares patches among clusters")

    @property
    def adopts(self) -> bool:
        return True

    @property
    def layers(self) -> tuple[str, ...]:
        return ("class_token", "final")


class CrowParameters(WhitenedParameters):
    """Cross-dimensional weighting."""

    spatial_power: float = Field(0.5, gt=0, le=4, description="exponent of the normalised spatial weights")


class RegionalParameters(WhitenedParameters):
    """What is done to the vector of every region."""

    regional_whitening: Literal[WhiteningName, "network"] = Field(
        "pca_whitening", description="of the vector of every region; network: the projection that came with the active network's weights"
    )
    regional_dimensions: int | None = Field(None, ge=1, description="of that vector afterwards; null: as many as the held-out set allows")
    regional_shrinkage: float = Field(0.0, ge=0, le=1, description="share of the mean eigenvalue mixed into its spectrum")

    @property
    def learns(self) -> bool:
        return super().learns or self.regional_whitening not in ("none", "network")

    @property
    def adopts(self) -> bool:
        return self.regional_whitening == "network"

    @model_validator(mode="after")
    def _regional(self) -> Self:
        if self.regional_whitening == "network" and self.regional_dimensions is not None:
            raise ValueError("regional_dimensions: the network's projection has its own; set it to null with regional_whitening: network")
        return self


class RmacParameters(RegionalParameters):
    """Regional maxima of squares."""

    levels: int = Field(3, ge=1, le=10)
    overlap: float = Field(0.4, ge=0, lt=1, description="wanted overlap of neighbouring regions along the long side")
    whole_map: bool = Field(False, description="add the whole map as a region")


class ClusterParameters(Section):
    """How local features are clustered (paper 2, §3)."""

    local_dimensions: int = Field(4, ge=1, le=512, description="of a local feature after PCA: 4 for VGG-16, 7 for ResNet-101")
    feature_counts: Counts = Field((5, 20), description="numbers of clusters of local features, each of which gives that many regions")
    colour_counts: Counts = Field((5,), description="numbers of clusters of the colours of the image at the map's size")
    weights: Literal["variance", "none"] = Field(
        "variance", description="of the components in distances of local features: their share of the variance (equation 2), or all the same"
    )
    scale: float = Field(0.05, ge=0.005, description="z of equation 3 over the image's largest distance")
    spatial_scale: float | None = Field(None, ge=0.005, description="the same for the spatial term; null: no spatial term")
    regularisation: float = Field(0.5, ge=0, description="of the normalised cut, as published in code; 0: none")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.feature_counts and not self.colour_counts:
            raise ValueError("feature_counts and colour_counts name no clusters")
        return self


class ClustersParameters(ClusterParameters, RegionalParameters):
    """Regional maxima of clusters of activations and of colours."""

    @property
    def learns(self) -> bool:
        return super().learns or bool(self.feature_counts)

    @property
    def needs_pictures(self) -> bool:
        return bool(self.colour_counts)


class SelectiveParameters(MethodParameters):
    """Selective features, embedding, aggregation and post-processing (paper 3)."""

    features: Literal["maps", "sift"] = Field("maps", description="local features: those of the maps, or RootSIFT descriptors, which have no mask")
    key_points: int = Field(2000, ge=1, le=100_000, description="of a photograph, with features: sift")
    mask: Literal["max", "sum", "sift", "none"] = "max"
    local_dimensions: int = Field(32, ge=2, le=4096, description="of a local feature after PCA")
    embedding: Literal["fisher", "vlad", "triangulation", "function_approximation"] = "triangulation"
    codebook: int = Field(20, ge=1, le=65536, description="centroids or Gaussians")
    restarts: int = Field(5, ge=1, le=100, description="runs of the clustering, the best of which is kept")
    learning_features: int | None = Field(
        200_000, ge=1, description="held-out local features that the codebook and the embedding's whitening see, drawn evenly; null: all"
    )
    seed: int = Field(0, ge=0, le=2**31 - 1000, description="of the draw and of the clustering")
    floor: int | None = Field(None, ge=0, description="smallest eigenvalues raised by the whitening; null: 33, function_approximation 129")
    aggregation: Literal["sum", "average", "max", "democratic", "generalized_max"] = "democratic"
    ridge: float = Field(1.0, gt=0, description="of generalized_max")
    order: Literal["rotate_first", "power_first"] = Field("rotate_first", description="as published in code, or as the text has it")
    truncate: int | None = Field(
        None, ge=0, description="leading components dropped after the rotation; null: triangulation 128, function_approximation d(d + 1), else 0"
    )
    power: float = Field(0.5, ge=0, le=1, description="exponent of the power law")
    dimensions: int | None = Field(None, ge=1, description="components kept after the dropped ones; null: all")
    missing_axes: Literal["complete", "refuse"] = Field("complete", description="a rotation that has fewer held-out images than dimensions")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.features == "sift" and self.mask != "none":
            raise ValueError(f"mask {self.mask} selects features of maps; set it to none with features: sift")
        if self.embedding in ("fisher", "vlad") and self.floor is not None:
            raise ValueError(f"floor belongs to triangulation and function_approximation, not to {self.embedding}; set it to null")
        length = self.embedded_dimensions
        if self.dropped + (self.dimensions or 1) > length:
            raise ValueError(f"truncate {self.dropped} and dimensions {self.dimensions} ask for more than the {length} embedded dimensions")
        if self.floor is not None and self.floor > length:
            raise ValueError(f"floor {self.floor} is more than the {length} embedded dimensions")
        return self

    @property
    def needs_pictures(self) -> bool:
        return "sift" in (self.mask, self.features)

    @property
    def dropped(self) -> int:
        """Components dropped after the rotation."""
        published = {"triangulation": 128, "function_approximation": self.local_dimensions * (self.local_dimensions + 1)}
        return published.get(self.embedding, 0) if self.truncate is None else self.truncate

    @property
    def embedded_dimensions(self) -> int:
        """Length of an embedded feature (paper 3, table II)."""
        d, k = self.local_dimensions, self.codebook
        return {"fisher": 2 * k * d, "vlad": k * d, "triangulation": k * d, "function_approximation": k * d * (d + 1) // 2}[self.embedding]


class PatchesParameters(MethodParameters):
    """Multi-resolution patches (paper 1); `extract.patch_levels` must give the levels wanted here, and those of the queries."""

    levels: int = Field(4, ge=1, le=10, description="of the references: level l has l² patches")
    grid: Literal[1, 2] = Field(1, description="cells per side that each patch is max-pooled on (spatial pooling)")
    whitening: WhiteningName = "pca_whitening"
    dimensions: int | None = Field(None, ge=1, description="of a patch after PCA; null: half, or as many as the held-out set allows")
    shrinkage: float = Field(0.0, ge=0, le=1, description="share of the mean eigenvalue mixed into the spectrum")
    renormalise: bool = Field(True, description="l2 after the whitening")
    code_bytes: int | None = Field(
        None, ge=1, description="of a reference's patch, as the code of a product quantiser; divides the dimensions; null: as aggregate.storage says"
    )
    learning_patches: int = Field(100_000, ge=1, description="held-out patches that the product quantiser learns from, drawn evenly")
    seed: int = Field(0, ge=0, le=2**31 - 1000, description="of the draw and of the clustering")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.whitening == "none" and self.dimensions is not None:
            raise ValueError("dimensions needs whitening: pca or pca_whitening")
        if self.code_bytes and self.dimensions and self.dimensions % self.code_bytes:
            raise ValueError(f"code_bytes {self.code_bytes} does not divide dimensions {self.dimensions}")
        return self

    @property
    def learns(self) -> bool:
        return self.whitening != "none" or self.code_bytes is not None


class ClassScoresParameters(WhitenedParameters):
    """Of the active network's classifier, at windows of the map."""

    layer: str = Field("scores", min_length=1, description="class scores, or a fully connected layer of AlexNet's and VGG's: fc6, fc7")
    window: Literal["highest", "mean"] = Field("highest", description="the window of the highest class activation, or the mean of all windows")

    @property
    def adopts(self) -> bool:
        return True


class RegionDescriptorParameters(WhitenedParameters):
    """Of a network that a step region_descriptor of `finetune` trained."""

    regions: int | None = Field(None, ge=1, description="windows of highest class activation; null: as many as in training")

    @property
    def adopts(self) -> bool:
        return True


class BagOfWordsParameters(WhitenedParameters):
    """SIFT bag of words; maps are extracted, but not looked at."""

    words: int = Field(1000, ge=2, le=1000000, description="of the vocabulary, by k-means on held-out photographs")
    key_points: int = Field(1000, ge=1, le=100000, description="strongest SIFT key points of a photograph")
    root: bool = Field(True, description="square roots of l1-normalised SIFT (RootSIFT)")
    sample: int = Field(200000, ge=2, description="held-out SIFT descriptors that the vocabulary is learned on, at most")
    seed: int = Field(0, ge=0)

    @property
    def learns(self) -> bool:
        return True

    @property
    def needs_pictures(self) -> bool:
        return True


METHODS: dict[str, type[MethodParameters]] = {
    "mac": MacParameters,
    "spoc": SpocParameters,
    "gem": GemParameters,
    "crow": CrowParameters,
    "super_global": SuperGlobalParameters,
    "class_token": ClassTokenParameters,
    "salad": SaladParameters,
    "rmac": RmacParameters,
    "clusters": ClustersParameters,
    "selective": SelectiveParameters,
    "patches": PatchesParameters,
    "class_scores": ClassScoresParameters,
    "region_descriptor": RegionDescriptorParameters,
    "bag_of_words": BagOfWordsParameters,
}
"""The parameters of every method by its name."""
DESCRIBERS = {
    "mac": "global_pooling:GlobalPooling",
    "spoc": "global_pooling:GlobalPooling",
    "gem": "global_pooling:GlobalPooling",
    "crow": "global_pooling:GlobalPooling",
    "super_global": "super_global:SuperGlobal",
    "class_token": "class_token:ClassToken",
    "salad": "salad:Salad",
    "rmac": "regional_max:RegionalMax",
    "clusters": "activation_clusters:ActivationClusters",
    "selective": "selective_features:SelectiveFeatures",
    "patches": "multi_resolution_patches:MultiResolutionPatches",
    "class_scores": "class_scores:ClassScores",
    "region_descriptor": "region_descriptor:RegionDescriptor",
    "bag_of_words": "bag_of_words:BagOfWords",
}
"""The module of pipeline/aggregation/describers/ and the class in it that computes each method."""


def refuse_unreadable_features(method: str, parameters: MethodParameters, patch_levels: int, layers: Sequence[str]) -> None:
    """Refuse features of a form that the method cannot read.

    Raises:
        ParameterError: patches for a method of whole maps, maps for `patches`, fewer levels than it wants, or other layers.
    """
    if parameters.layers is not None and tuple(layers) != parameters.layers:
        wanted, got = (f"[{', '.join(names)}]" for names in (parameters.layers, layers))
        kind = f" with patches: {parameters.patches}" if isinstance(parameters, ClassTokenParameters) else ""
        raise ParameterError(f"{PARAMS_FILE}: network.layers: aggregate.{method}{kind} reads {wanted}, not {got}")
    if not isinstance(parameters, PatchesParameters):
        if patch_levels:
            raise ParameterError(f"{PARAMS_FILE}: extract.patch_levels: aggregate.{method} reads whole maps; set it to 0, not {patch_levels}")
        return
    if parameters.levels > patch_levels:
        raise ParameterError(
            f"{PARAMS_FILE}: extract.patch_levels: aggregate.patches.levels is {parameters.levels}; "
            f"set it to {parameters.levels} at least, not {patch_levels}"
        )


def load_storage(file: Path | None = None) -> Storage:
    """Of the descriptors; float32 where the section says nothing.

    Raises:
        ParameterError: an unknown one.
    """
    storage: Storage = (read_section("aggregate", file) or {}).get("storage", "float32")
    if storage not in STORED:
        raise ParameterError(f"{file or PARAMS_FILE}: aggregate.storage: {storage!r} is unknown; allowed: {', '.join(STORED)}")
    return storage


def load_method(file: Path | None = None) -> tuple[str, MethodParameters]:
    """The method in use and its parameters.

    Raises:
        ParameterError: unknown method or parameter.
    """
    method = read_section("aggregate.method", file)
    if method not in METHODS:
        raise ParameterError(f"{file or PARAMS_FILE}: aggregate.method: {method!r} is unknown; allowed: {', '.join(METHODS)}")
    return method, load_section(METHODS[method], f"aggregate.{method}", file)
