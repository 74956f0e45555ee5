"""Descriptors of class scores: the ImageNet baseline of paper 4 (§4.4), and what classifies the instances themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.network_parts import ClassifierPart, classifier_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.contracts.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.projections.normalization import l2


class ClassScores(WhitenedDescriber):
    """Mean of the active network's class scores, before softmax, over the windows of a map, l2-normalised."""

    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {ClassifierPart.__name__: ClassifierPart}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        self.models["classifier"] = classifier_of(self.method, folder, choice)

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        scores: torch.Tensor = self.models["classifier"].module(maps)
        return l2(scores.mean(dim=(2, 3)))

    def dimensions(self, channels: int) -> int:
        return super().dimensions(self.models["classifier"].module.classes)
