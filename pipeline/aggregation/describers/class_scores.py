"""Descriptors of class scores: the ImageNet baseline of paper 4 (§4.4), and what classifies the instances themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, assert_never

import torch

from pipeline.aggregation.describers.network_parts import ClassifierPart, classifier_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import ClassScoresParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.networks.classifier import Classifier
from pipeline.networks.region_head import top_windows
from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError


class ClassScores(WhitenedDescriber):
    """The active network's class scores, before softmax, at the window of a map with the highest of them, or their mean; l2-normalised.

    A fully connected layer below the scores may stand for them (paper 1, §3.1).
    """

    parameters: ClassScoresParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {ClassifierPart.__name__: ClassifierPart}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        part = classifier_of(self.method, folder, choice)
        known = ("scores", *part.module.form.hidden)
        if self.parameters.layer not in known:
            raise ModelError(f"aggregate.{self.method}.layer: {part.architecture} has no {self.parameters.layer!r}; there are: {', '.join(known)}")
        self.models["classifier"] = part

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        classifier: Classifier = self.models["classifier"].module
        layer = self.parameters.layer
        values: torch.Tensor = classifier(maps) if layer == "scores" else classifier.layer(maps, layer)
        match self.parameters.window:
            case "highest":
                places = top_windows(values if layer == "scores" else classifier(maps), 1).unsqueeze(1).expand(-1, values.shape[1], -1)
                return l2(values.flatten(2).gather(2, places).squeeze(2))
            case "mean":
                return l2(values.mean(dim=(2, 3)))
            case _:
                assert_never(self.parameters.window)

    def dimensions(self, channels: int) -> int:
        classifier: Classifier = self.models["classifier"].module
        return super().dimensions(classifier.classes if self.parameters.layer == "scores" else classifier.width(self.parameters.layer))
