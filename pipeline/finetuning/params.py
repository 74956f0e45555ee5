"""The sections finetune.NAME of params.yaml: one step of training each, that starts from a network or from another step."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import Section, validate


class AugmentationParameters(Section):
    """Random changes of a training image (paper 4, §3.1.1)."""

    rotation: float = Field(180.0, ge=0, le=180, description="degrees either way")
    scale: float = Field(0.25, ge=0, lt=1, description="each axis is scaled by 1 − scale to 1 + scale")
    shift: float = Field(0.0, ge=0, le=0.5, description="share of each side, either way")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    fill: Literal["noise", "black"] = Field("noise", description="what stands where the changed image has nothing; noise is uniform")


class RegionAugmentationParameters(AugmentationParameters):
    """Those of the region descriptor, which is trained on less rotated images."""

    rotation: float = Field(45.0, ge=0, le=180, description="degrees either way")


class StepParameters(Section):
    """What every step has."""

    step: str
    start: str = Field(min_length=1, description="a name under `networks` or `finetune`")
    dataset: str = Field(min_length=1, description="a name under `datasets`")
    role: Literal["database", "held_out"] = Field("database", description="of the images that are trained and validated on")
    seed: int = Field(0, ge=0)
    validation_share: float = Field(0.2, ge=0, le=0.9, description="of the instances, which are not trained on; 0: none")
    validation_seed: int = Field(0, ge=0, description="which instances these are")
    epochs: int = Field(50, ge=1, le=10000)
    patience: int = Field(0, ge=0, description="epochs without a better mAP of the validation instances before the best is kept; 0: the last is kept")
    batch: int = Field(64, ge=1, description="images, or triplets, per step of gradient descent")
    micro_batch: int = Field(1, ge=1, description="of these that go through the network at once; their gradients are added up")
    learning_rate: float = Field(1e-2, gt=0)
    schedule: Literal["step", "constant", "cosine"] = Field(
        "step", description="step: the learning rate is multiplied by `decay` after every `decay_epochs`; cosine: it falls to 0 over the epochs"
    )
    decay: float = Field(0.1, gt=0, le=1, description="step: factor of the learning rate")
    decay_epochs: int = Field(30, ge=1, description="step: epochs between two changes of the learning rate")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    precision: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the network's arithmetic; weights stay float32")
    frozen: str | None = Field(None, description="the last layer that keeps its weights; null: the architecture's; none: all are trained")
    augmentation: AugmentationParameters = AugmentationParameters()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.micro_batch > self.batch:
            raise ValueError(f"micro_batch {self.micro_batch} is more than the batch of {self.batch}")
        if self.patience and not self.validation_share:
            raise ValueError("patience needs validation instances; set validation_share above 0 or patience to 0")
        return self


class ClassificationParameters(StepParameters):
    """The instances are classes (§3.1)."""

    step: Literal["classification"]
    side: int = Field(224, ge=32, le=2048, description="images are scaled to side × side pixels")
    micro_batch: int = Field(32, ge=1, description="images that go through the network at once; batch statistics are theirs")


class FullyConvolutionalParameters(StepParameters):
    """The classifier at every place of images of several sizes (§3.4.1)."""

    step: Literal["fully_convolutional"]
    sides: tuple[int, ...] = Field((448, 224), strict=False, description="pixels of the shorter side; each weighs the same")
    maximal_aspect: float = Field(2.0, ge=1, description="longer images are padded with noise")
    learning_rate: float = Field(1e-3, gt=0)
    micro_batch: Literal[1] = Field(1, description="images have sizes of their own")

    @field_validator("sides")
    @classmethod
    def _sides(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if not sides or any(not 32 <= side <= 4096 for side in sides) or len(set(sides)) < len(sides):
            raise ValueError("expected distinct numbers of pixels between 32 and 4096")
        return sides


class MiningParameters(Section):
    """Which triplets are trained on (§3.2.3)."""

    rule: Literal["semi_hard_then_hardest", "easiest_hardest"] = Field(
        "semi_hard_then_hardest", description="all positive pairs, or the easiest positives with the hardest negatives"
    )
    semi_hard_epochs: int = Field(2, ge=0, description="first epochs with semi-hard negatives")
    positives: int = Field(2, ge=1, description="easiest_hardest: n easiest positives of an image")
    negatives: int = Field(5, ge=1, description="easiest_hardest: m hardest negatives of an image")
    kept: int = Field(10, ge=1, description="easiest_hardest: o triplets of an image of highest loss")
    order: Literal["random", "balanced"] = Field(
        "random", description="of an epoch's triplets; balanced: in rounds that take one triplet of every instance that has any left"
    )
    at_most: int | None = Field(None, ge=1, description="triplets of an epoch, the first of the order; null: all")


class RegionDescriptorParameters(StepParameters):
    """Descriptors of the regions of highest activation by triplets, or of the whole map (§3.2 and §3.4.2)."""

    step: Literal["region_descriptor"]
    side: int = Field(448, ge=32, le=4096, description="pixels of the shorter side")
    maximal_aspect: float = Field(2.0, ge=1, description="longer images are padded with noise")
    regions: int | None = Field(6, ge=1, description="k, windows of highest class activation; null: the whole map, the simplified architecture")
    content: Literal["mean", "max", "flattened"] = Field("mean", description="of a region's cells")
    dimensions: int = Field(512, ge=1, le=65536)
    initial: Literal["random", "pca"] = Field(
        "random",
        description="random: no shift, and a linear layer as the framework draws it; pca: principal components of the training images' regions",
    )
    epochs: int = Field(20, ge=1, le=10000)
    learning_rate: float = Field(1e-4, gt=0, description="for the sum over the triplets of a batch")
    weight_decay: float = Field(0.0, ge=0)
    margin: float = Field(0.1, ge=0, le=2)
    classification: float = Field(1.0, ge=0, description="α, the weight of the cross-entropy of the regions")
    classified: Literal["anchor", "all"] = Field("anchor", description="which photographs of a triplet the cross-entropy is taken of")
    mining: MiningParameters = MiningParameters()
    augmentation: RegionAugmentationParameters = RegionAugmentationParameters()
    micro_batch: int = Field(4, ge=1, description="triplets that are held at once")


STEPS: dict[str, type[StepParameters]] = {
    "classification": ClassificationParameters,
    "fully_convolutional": FullyConvolutionalParameters,
    "region_descriptor": RegionDescriptorParameters,
}


def step_from(section: object, path: str, origin: str) -> StepParameters:
    """A section finetune.NAME.

    Raises:
        ParameterError: something in it does not fit.
    """
    kind = section.get("step") if isinstance(section, dict) else None
    if kind not in STEPS:
        raise ParameterError(f"{origin}: {path}.step: unknown step {kind!r}; allowed: {', '.join(STEPS)}")
    return validate(STEPS[kind], section, path, origin)


def refuse_circles(steps: Mapping[str, StepParameters], origin: str) -> None:
    """Refuse a step that starts from itself, directly or through others.

    Raises:
        ParameterError: by the name of one of them.
    """
    for name in steps:
        seen = [name]
        while (start := steps[seen[-1]].start) in steps:
            if start in seen:
                raise ParameterError(f"{origin}: finetune.{name}.start: {' from '.join([*seen, start])}; start from a network")
            seen.append(start)
