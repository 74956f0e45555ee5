"""SALAD: patch tokens in clusters by optimal transport, next to the class token (Izquierdo and Civera, CVPR 2024)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.network_parts import salad_head_of
from pipeline.aggregation.describers.whitened import WhitenedDescriber
from pipeline.aggregation.params import SaladParameters
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.maps.pictures import Picture
from pipeline.networks.salad_head import SaladHead


class Salad(WhitenedDescriber):
    """What the head that came with the network's weights gives for the layers `class_token` and `final`."""

    parameters: SaladParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {SaladHead.__name__: SaladHead}

    def adopt(self, folder: Path, choice: NetworkChoice) -> None:
        self.models["head"] = salad_head_of(self.method, folder)

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        token, patches = maps.chunk(2, dim=-3)
        described: torch.Tensor = self.models["head"](patches, token[..., 0, 0], self.parameters.iterations)
        return described

    def dimensions(self, channels: int) -> int:
        return super().dimensions(self.models["head"].dimensions)
