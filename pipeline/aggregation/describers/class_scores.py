"""Descriptors of class scores: the ImageNet baseline of paper 4 (§4.4), and what classifies the instances themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, assert_never

import torch

from pipeline.aggregation.describers.network_parts import ClassifierPart, classifier_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import ClassScoresParameters
from pipeline.contracts.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.networks.region_head import top_windows
from pipeline.projections.normalization import l2


class ClassScores(WhitenedDescriber):
    """The active network's class scores, before softmax, at the window of a map with the highest of them, or their mean; l2-normalised."""

    parameters: ClassScoresParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {ClassifierPart.__name__: ClassifierPart}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        self.models["classifier"] = classifier_of(self.method, folder, choice)

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        scores: torch.Tensor = self.models["classifier"].module(maps)
        match self.parameters.window:
            case "highest":
                places = top_windows(scores, 1).unsqueeze(1).expand(-1, scores.shape[1], -1)
                return l2(scores.flatten(2).gather(2, places).squeeze(2))
            case "mean":
                return l2(scores.mean(dim=(2, 3)))
            case _:
                assert_never(self.parameters.window)

    def dimensions(self, channels: int) -> int:
        return super().dimensions(self.models["classifier"].module.classes)
