"""A product quantiser (Jégou et al., PAMI 2011): centroids of each part of vectors, so that a vector is stored in a byte per part."""

import logging
from typing import ClassVar, Self

import torch

from pipeline.contracts.features.product_codes import CENTROIDS, ProductCodes
from pipeline.contracts.models import Learned
from pipeline.projections.codebooks import kmeans
from pipeline.stage.errors import ModelError

log = logging.getLogger(__name__)


class ProductQuantiser(Learned):
    """The first centroid of each part is zero, so that zero vectors stay what they are; the others are those of k-means.

    Args:
        bytes_: M, parts of a vector.

    Attributes:
        codebooks_: (M, 256, D / M) float32, rounded to float16, as each shard of codes holds them in its metadata.
        count_: vectors learned from.
    """

    arrays = ("codebooks_",)
    facts: ClassVar[tuple[str, ...]] = ("seed", "count_")

    def __init__(self, bytes_: int, seed: int = 0) -> None:
        self.parts_wanted, self.seed = bytes_, seed

    def fit(self, vectors: torch.Tensor) -> Self:
        """Learn from vectors (N, D).

        Few different vectors give fewer centroids than a byte can tell apart.

        Raises:
            ModelError: M does not divide D.
        """
        count, dimensions = vectors.shape
        if dimensions % self.parts_wanted:
            raise ModelError(f"{self.parts_wanted} bytes do not divide the {dimensions} dimensions; take {_divisor(dimensions, self.parts_wanted)}")
        each = dimensions // self.parts_wanted
        self.codebooks_ = torch.zeros(self.parts_wanted, CENTROIDS, each)
        fewest = CENTROIDS
        for place, part in enumerate(vectors.float().cpu().split(each, dim=1)):
            centroids = min(CENTROIDS - 1, len(part.unique(dim=0)))
            self.codebooks_[place, 1 : 1 + centroids] = kmeans(part.contiguous(), centroids, 1, self.seed + place).half()
            fewest = min(fewest, 1 + centroids)
        if fewest < CENTROIDS:
            log.warning("%d vectors give parts of %d centroids, fewer than %d; use more held-out images.", count, fewest, CENTROIDS)
        self.count_ = count
        return self

    @property
    def codes(self) -> ProductCodes:
        """What encodes and decodes."""
        return ProductCodes(self.codebooks_.cpu().numpy())


def _divisor(dimensions: int, wanted: int) -> int:
    """The divisor that is nearest to what was wanted."""
    return min((own for own in range(1, dimensions + 1) if dimensions % own == 0), key=lambda own: abs(own - wanted))
