"""SIFT bag of visual words with tf-idf (Sivic and Zisserman, 2003): the baseline without a network of paper 4 (Table 4.2)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import faiss
import numpy as np
import torch

from pipeline.aggregation.describers.whitened import WhitenedDescriber, naming
from pipeline.aggregation.params import BagOfWordsParameters
from pipeline.aggregation.sift import Descriptors, sift_descriptors
from pipeline.contracts.models import Learned
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapStream
from pipeline.projections.codebooks import kmeans
from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError


@dataclass(frozen=True)
class Vocabulary(Learned):
    """Attributes:
    words: (W, 128) float32 centroids of SIFT descriptors.
    idf: (W,) float32, inverse document frequency among the held-out photographs.
    """

    words: torch.Tensor
    idf: torch.Tensor
    arrays: ClassVar[tuple[str, ...]] = ("words", "idf")

    def counts(self, descriptors: Descriptors) -> torch.Tensor:
        """(W,) how often each word is the nearest of descriptors (n, 128)."""
        if not len(descriptors):
            return torch.zeros(len(self.words), device=self.words.device)
        nearest = faiss.knn(descriptors, self.words.cpu().numpy(), 1)[1][:, 0]
        return torch.from_numpy(np.bincount(nearest, minlength=len(self.words))).to(self.words)


class BagOfWords(WhitenedDescriber):
    """Term frequency times inverse document frequency, l2-normalised; the feature maps are not looked at."""

    parameters: BagOfWordsParameters
    kinds: ClassVar[dict[str, Any]] = WhitenedDescriber.kinds | {Vocabulary.__name__: Vocabulary}

    def fit_before(self, maps: MapStream) -> None:
        found = list(self._held_out(maps))
        sample = _sample(found, self.parameters.sample, self.parameters.seed)
        with naming(f"aggregate.{self.method}.words"):
            if not len(sample):
                raise ModelError("the held-out photographs have no key points")
            words = kmeans(torch.from_numpy(sample), self.parameters.words, restarts=1, seed=self.parameters.seed)
        occurring = torch.zeros(len(words))
        blank = Vocabulary(words, torch.ones(len(words)))
        for descriptors in found:
            occurring += blank.counts(descriptors) > 0
        self.models["vocabulary"] = Vocabulary(words, torch.log((len(found) + 1) / (occurring + 1)))

    def describe_scale(self, maps: torch.Tensor, pictures: Sequence[Picture] = ()) -> torch.Tensor:
        vocabulary: Vocabulary = self.models["vocabulary"]
        counts = [vocabulary.counts(self._descriptors(picture, maps)) for picture in pictures]
        return l2(torch.stack(counts) * vocabulary.idf).to(maps.device)

    def dimensions(self, channels: int) -> int:
        return super().dimensions(self.parameters.words)

    def _held_out(self, maps: MapStream) -> Iterator[Descriptors]:
        for batch in maps():
            scale, pictures = next(iter(batch.with_pictures()))
            for picture in pictures:
                yield self._descriptors(picture, scale)

    def _descriptors(self, picture: Picture, maps: torch.Tensor) -> Descriptors:
        return sift_descriptors(picture, maps.shape[-2], maps.shape[-1], self.parameters.key_points, self.parameters.root)


def _sample(found: list[Descriptors], wanted: int, seed: int) -> Descriptors:
    """At most so many of all the descriptors, drawn at random."""
    every = np.concatenate(found) if found else np.zeros((0, 128), np.float32)
    if len(every) <= wanted:
        return every
    return every[np.sort(np.random.default_rng(seed).permutation(len(every))[:wanted])]
