"""Multi-resolution patches: one descriptor per patch (paper 1, §3.2, §4). The search takes of the queries' patches as many levels as it wants."""

import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.describers.whitened import learn_whitening, naming
from pipeline.aggregation.local_features import sample
from pipeline.aggregation.params import PatchesParameters
from pipeline.contracts.features.patches import PatchForm, patch_count
from pipeline.contracts.features.product_codes import ProductCodes
from pipeline.maps.stream import MapBatch, MapStream
from pipeline.projections.normalization import l2
from pipeline.projections.product_quantiser import ProductQuantiser
from pipeline.projections.whitening import WHITENINGS

log = logging.getLogger(__name__)


class MultiResolutionPatches(Describer):
    """Spatial max-pooling of each patch → l2 → PCA-whitening to half the dimensions → l2."""

    parameters: PatchesParameters
    kinds: ClassVar[dict[str, Any]] = {kind.__name__: kind for kind in (*WHITENINGS.values(), ProductQuantiser)}

    def dimensions(self, channels: int) -> int:
        return len(self.models["patches"].components_) if "patches" in self.models else channels * self.parameters.grid**2

    def patches(self, purpose: str, patch_levels: int) -> int:
        return patch_count(patch_levels if purpose == "queries" else self.parameters.levels)

    @cached_property
    def product_codes(self) -> ProductCodes | None:
        return self.models["quantiser"].codes if "quantiser" in self.models else None

    def fit(self, maps: MapStream) -> None:
        super().fit(maps)
        parameters = self.parameters
        if parameters.code_bytes is None:
            return
        total = sum(len(batch.scales[0]) for batch in maps()) * patch_count(parameters.levels)
        patches = sample(lambda: (self._references(self.describe(batch)) for batch in maps()), total, parameters.learning_patches, parameters.seed)
        log.info("Learning codes of %d bytes from %d of %d patches.", parameters.code_bytes, len(patches), total)
        with naming("aggregate.patches.code_bytes"):
            self.models["quantiser"] = ProductQuantiser(parameters.code_bytes, parameters.seed).fit(patches)

    def _references(self, vectors: torch.Tensor) -> torch.Tensor:
        """(B, P, D) to those (N, D) of the patches that a reference has."""
        return vectors[:, : patch_count(self.parameters.levels)].flatten(0, 1)

    def fit_final(self, vectors: Iterator[torch.Tensor]) -> None:
        parameters = self.parameters
        if parameters.whitening == "none":
            return
        model = learn_whitening(parameters.whitening, parameters.dimensions, parameters.shrinkage, map(self._references, vectors))
        if parameters.dimensions is None:
            kept, half = model.components_.shape[0], model.components_.shape[1] // 2
            if kept < half:
                log.warning("%d held-out patches give %d components, fewer than half of %d.", model.count_, kept, 2 * half)
            model.components_ = model.components_[:half].contiguous()
        self.models["patches"] = model

    def pooled(self, batch: MapBatch) -> torch.Tensor:
        return pooled_patches(batch.scales[0], _form_of(batch), self.parameters.grid)

    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        if "patches" not in self.models:
            return vectors
        alive = vectors.any(dim=-1, keepdim=True)  # a patch without any activation stays zero
        reduced: torch.Tensor = self.models["patches"].transform(vectors) * alive
        return l2(reduced) if self.parameters.renormalise else reduced


def _form_of(batch: MapBatch) -> PatchForm:
    if batch.patches is None:
        raise ValueError("the batch holds maps, not patches")
    return batch.patches


def pooled_patches(maps: torch.Tensor, form: PatchForm, grid: int) -> torch.Tensor:
    """Stored patches (B, K, P, g²) to vectors (B, P, K·grid²), l2-normalised.

    What several layers, networks or areas give is normalised part by part before it is concatenated, so that none drowns the others.
    """
    cells = maps if grid == form.grid else maps.amax(dim=3, keepdim=True)
    parts = [part.transpose(1, 2).flatten(2) for part in cells.split(list(form.parts), dim=1)]
    return l2(parts[0] if len(parts) == 1 else torch.cat([l2(part) for part in parts], dim=2))
