"""Feature maps of batches of images: several scales in one pass, chosen precision, activations cropped to a query's box."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.features.feature_shards import FeatureBatch
from pipeline.contracts.features.patches import PatchForm, patch_count
from pipeline.contracts.images.cells import Grid
from pipeline.contracts.running.settings import settings
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.patches import GRID, patch_features, resize_images
from pipeline.extraction.planning import PlannedBatch
from pipeline.networks.concatenation import ConcatenatedNetwork
from pipeline.networks.network import Network

Pixels = npt.NDArray[np.uint8]
BATCH_SIZES = {"cpu": 1, "cuda": 4}
"""Images that are fed together. A smaller batch is filled up, so that no image's maps depend on its neighbours: a processor rounds
differently in batches of other sizes. Photographs of many sizes leave large batches nearly empty: on an H100, 64 photographs of their own
sizes went through VGG16 four times as fast in batches of 4 as in batches of 32."""
BATCHES_AT_ONCE = 4
"""That one thread of a processor computes before the next may; the fewer, the shorter threads wait for the last one."""

log = logging.getLogger(__name__)


def _has_arithmetic(precision: str) -> bool:
    """Whether this processor has instructions for it."""
    match precision:
        case "float32":
            return True
        case "bfloat16":
            return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        case "float16":
            return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
        case _:
            raise ValueError(f"precision {precision!r} is unknown; there are: float32, bfloat16, float16")


@dataclass
class FeatureExtractor:
    """A network on a device, as a function from loaded batches to feature maps.

    Attributes:
        channels: K of the maps.
        batch_size: images that are fed together.
        at_once: images that one thread of a processor computes at a time; None on an accelerator.
    """

    network: Network | ConcatenatedNetwork
    parameters: ExtractParameters
    device: torch.device

    def __post_init__(self) -> None:
        if self.device.type == "cpu" and not _has_arithmetic(self.parameters.precision):
            log.warning("extract.precision: this processor computes %s by way of float32, several times as slowly.", self.parameters.precision)
        self.network.to(self.device)
        self.channels = self.network.channels  # which makes the layers' modules, before several threads ask for them
        self.batch_size = settings().batch_size or BATCH_SIZES[self.device.type]
        self.at_once = BATCHES_AT_ONCE * self.batch_size if self.device.type == "cpu" else None

    @property
    def grid(self) -> Grid:
        """Where the cells of the maps look."""
        return Grid(self.network.stride, self.network.first_centre)

    @property
    def form(self) -> PatchForm | None:
        """The form of the patches, where they are extracted instead of maps."""
        parameters = self.parameters
        parts = self.network.parts * len(parameters.patch_sides)
        return PatchForm(parameters.patch_levels, GRID, parts) if parameters.patch_levels else None

    def values(self, batch: PlannedBatch) -> float:
        """How many values the batch gives, estimated for maps."""
        count = len(batch.image_ids)
        return self.values_of(count, count * batch.width * batch.height)

    def values_of(self, images: int, pixels: int) -> float:
        """How many values some images with so many pixels in all give."""
        if form := self.form:
            return images * sum(form.parts) * patch_count(form.levels) * form.grid**2
        cells = pixels / self.network.stride**2 * sum(scale**2 for scale in self.parameters.scales)
        return cells * self.channels

    def maps(self, batch: LoadedBatch) -> list[torch.Tensor]:
        """One tensor (B, K, H, W) float32 per scale, on the device; H×W is the window of the batch's part where it has one.

        With `patch_levels`, one tensor (B, K, P, g²) of patches.
        """
        count = len(batch.pixels)
        chunks = [
            [maps[: count - first] for maps in self._forward(batch, self._filled_up(batch.pixels[first : first + self.batch_size]))]
            for first in range(0, count, self.batch_size)
        ]
        return [torch.cat(scale) if len(scale) > 1 else scale[0] for scale in zip(*chunks, strict=True)]

    def features(self, batch: LoadedBatch) -> FeatureBatch:
        """The same as arrays of the stored type."""
        storage = {"float16": torch.float16, "float32": torch.float32}[self.parameters.storage]
        limit = torch.finfo(storage).max
        with torch.inference_mode():
            arrays = [item.clamp(-limit, limit).to(storage).contiguous().cpu().numpy() for item in self.maps(batch)]
        return self.batch(batch.plan, arrays)

    def batch(self, plan: PlannedBatch, arrays: list[npt.NDArray[Any]]) -> FeatureBatch:
        """The features of a planned batch, whose arrays are there."""
        return FeatureBatch(list(plan.image_ids), plan.width, plan.height, arrays, list(self.parameters.scales), self.grid, self.form)

    def _filled_up(self, pixels: Pixels) -> Pixels:
        """A batch of the fixed size: the last image stands for those that are missing."""
        missing = self.batch_size - len(pixels)
        return np.concatenate([pixels, np.repeat(pixels[-1:], missing, axis=0)]) if missing else pixels

    def _forward(self, batch: LoadedBatch, pixels: Pixels) -> list[torch.Tensor]:
        with torch.inference_mode(), self._autocast():
            images = self.network.preprocess(pixels, self.device)
            if self.parameters.patch_levels:
                box = batch.plan.part.box if batch.plan.part is not None else None
                return [patch_features(self._maps_of, images, self.parameters, self.network.stride, self.batch_size, box)]
            return [self._at_scale(images, batch, scale) for scale in self.parameters.scales]

    def _at_scale(self, images: torch.Tensor, batch: LoadedBatch, scale: float) -> torch.Tensor:
        if scale != 1.0:
            size = (max(1, round(images.shape[2] * scale)), max(1, round(images.shape[3] * scale)))
            images = resize_images(images, *size)
        maps = self._maps_of(images)
        if batch.plan.part is not None:
            y0, x0, y1, x1 = batch.plan.part.window(self.grid.at(scale), maps.shape[2], maps.shape[3])
            maps = maps[:, :, y0:y1, x0:x1]
        return maps

    def _maps_of(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.feature_maps(images).float()

    def _autocast(self) -> AbstractContextManager[object]:
        if self.parameters.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.parameters.precision))
