"""The region descriptor of a fine-tuned network (paper 4, §3.4.2)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.network_parts import ClassifierPart, classifier_of, region_head_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import RegionDescriptorParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.networks.region_head import RegionHead


class RegionDescriptor(WhitenedDescriber):
    """What the head that a step region_descriptor trained gives for each scale's maps; scales are averaged."""

    parameters: RegionDescriptorParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {ClassifierPart.__name__: ClassifierPart, RegionHead.__name__: RegionHead}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        head = region_head_of(self.method, folder, choice)
        if self.parameters.regions is not None and head.form.regions is not None:
            head.form = replace(head.form, regions=self.parameters.regions)
        self.models["head"] = head
        if head.form.regions is not None:
            self.models["classifier"] = classifier_of(self.method, folder, choice)

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        head: RegionHead = self.models["head"]
        described: torch.Tensor = head(maps, self.models["classifier"].module(maps) if head.form.regions is not None else None)
        return described

    def dimensions(self, channels: int) -> int:
        return super().dimensions(len(self.models["head"].weight))
