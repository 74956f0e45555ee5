"""Selective convolutional features: mask, local PCA, embedding, aggregation, post-processing (paper 3, §III and §IV)."""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, assert_never

import numpy as np
import torch

from pipeline.aggregation.democratic import aggregate, sum_by_image
from pipeline.aggregation.describers.whole_image import WholeImageDescriber
from pipeline.aggregation.embeddings import EMBEDDINGS, VALUES_AT_ONCE, Embedding, WhitenedEmbedding
from pipeline.aggregation.local_features import chunks, pack, sample, select_locations
from pipeline.aggregation.params import SelectiveParameters
from pipeline.aggregation.post_processing import PostProcessing
from pipeline.aggregation.sift import sift_descriptors
from pipeline.contracts.running.settings import settings
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapStream
from pipeline.projections.moments import Moments
from pipeline.projections.normalization import l2
from pipeline.projections.whitening import PCA
from pipeline.stage.errors import ModelError

log = logging.getLogger(__name__)


class SelectiveFeatures(WholeImageDescriber):
    """Mask → PCA to d → l2 → embed each local feature → aggregate → l2 → rotate, drop, power law → l2."""

    parameters: SelectiveParameters
    kinds: ClassVar[dict[str, Any]] = {kind.__name__: kind for kind in (PCA, PostProcessing, *EMBEDDINGS.values())}

    def select(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        """Maps (B, K, H, W) to the locations kept, (B, H, W) bool."""
        return select_locations(self.parameters.mask, maps, pictures)

    def local(self, maps: torch.Tensor, pictures: Sequence[Picture], mask: torch.Tensor | None = None) -> tuple[torch.Tensor, list[int]]:
        """Local features (N, K) of B images, one image after the other, and how many each has.

        Args:
            mask: (B, H, W), where it is known already.
        """
        match self.parameters.features:
            case "maps":
                return pack(maps, self.select(maps, pictures) if mask is None else mask)
            case "sift":
                height, width, most = maps.shape[-2], maps.shape[-1], self.parameters.key_points
                with ThreadPoolExecutor(settings().threads) as pool:
                    found = list(pool.map(lambda picture: sift_descriptors(picture, height, width, most, root=True), pictures))
                return torch.from_numpy(np.concatenate(found)).to(maps), [len(own) for own in found]
            case _:
                assert_never(self.parameters.features)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Local features (N, K) to (N, d), l2-normalised."""
        return l2(self.models["local"].transform(features))

    def embed_and_aggregate(self, features: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        """Reduced local features (N, d), `counts` per image, to (B, D), l2-normalised.

        Sum and average whiten once per image, after the sum, which is the same.
        """
        parameters, embedding = self.parameters, self.models["embedding"]
        if parameters.aggregation in ("sum", "average"):  # they differ by a factor, which l2 takes away
            sums = torch.cat([sum_by_image(embedding.raw(part), part_counts) for part, part_counts in self._parts(features, counts)])
            present = torch.tensor(counts, device=features.device, dtype=features.dtype)[:, None]
            return l2(embedding.linear(sums, present))
        vectors = [
            aggregate(embedding.transform(part), parameters.aggregation, part_counts, parameters.ridge)
            for part, part_counts in self._parts(features, counts)
        ]
        return l2(torch.cat(vectors))

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        features, counts = self.local(maps, pictures)
        return self.embed_and_aggregate(self.reduce(features), counts)

    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        final: PostProcessing = self.models["final"]
        return final.transform(vectors)

    def dimensions(self, channels: int) -> int:
        final: PostProcessing = self.models["final"]
        return len(final.rotation_.components_) - final.truncate

    def fit_before(self, maps: MapStream) -> None:
        parameters = self.parameters
        masks: list[list[torch.Tensor | None]] = []

        def selected() -> Iterator[torch.Tensor]:
            for batch in maps():
                masks.append([])
                for scale, pictures in batch.with_pictures():
                    masks[-1].append(self.select(scale, pictures) if parameters.features == "maps" else None)
                    yield self.local(scale, pictures, masks[-1][-1])[0]

        moments = Moments.of(selected())
        if not moments.count:
            raise ModelError(
                "the held-out images have no activation anywhere; look at the network's weights"
                if parameters.features == "maps"
                else "the held-out photographs have no key points"
            )
        self.models["local"] = PCA(parameters.local_dimensions).fit_moments(moments)

        def reduced() -> Iterator[torch.Tensor]:
            for batch, kept in zip(maps(), masks, strict=True):
                for (scale, pictures), mask in zip(batch.with_pictures(), kept, strict=True):
                    yield self.reduce(self.local(scale, pictures, mask)[0])

        features = sample(reduced, moments.count, parameters.learning_features, parameters.seed)
        log.info("Learning %s from %d of %d local features.", parameters.embedding, len(features), moments.count)
        self.models["embedding"] = self._new_embedding().fit(features)

    def _new_embedding(self) -> Embedding:
        parameters = self.parameters
        kind = EMBEDDINGS[parameters.embedding]
        if issubclass(kind, WhitenedEmbedding):
            return kind(parameters.codebook, restarts=parameters.restarts, seed=parameters.seed, floor=parameters.floor)
        return kind(parameters.codebook, restarts=parameters.restarts, seed=parameters.seed)

    def fit_final(self, vectors: Iterator[torch.Tensor]) -> None:
        parameters = self.parameters
        complete = {"complete": True, "refuse": False}[parameters.missing_axes]
        final = PostProcessing(parameters.dropped, parameters.power, parameters.dimensions, parameters.order, complete)
        rotation = final.fit(vectors).rotation_
        if rotation.learned_ < len(rotation.components_):
            log.warning(
                "%d held-out images give %d axes of the rotation; it is completed to %d.",
                rotation.count_,
                rotation.learned_,
                len(rotation.components_),
            )
        self.models["final"] = final

    def _parts(self, features: torch.Tensor, counts: Sequence[int]) -> Iterator[tuple[torch.Tensor, Sequence[int]]]:
        """Images whose embedded features fit into memory together."""
        offset = 0
        for images in chunks(counts, max(1, VALUES_AT_ONCE // self.models["embedding"].dimensions(features.shape[1]))):
            own = counts[images]
            yield features[offset : offset + sum(own)], own
            offset += sum(own)
