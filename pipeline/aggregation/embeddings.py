"""Embeddings of single local features, so that any aggregation can follow: Fisher vector, VLAD, triangulation, function approximation
(paper 3, §IV-B)."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch

from pipeline.contracts.models import Learned
from pipeline.projections.codebooks import GaussianMixture, gaussian_mixture, kmeans
from pipeline.projections.floored_whitening import FlooredWhitening
from pipeline.projections.moments import Moments
from pipeline.projections.normalization import l2
from pipeline.stage.errors import ModelError

VALUES_AT_ONCE = 2**24


class Embedding(Learned, ABC):
    """Learned like a scikit-learn transformer: `fit` on local features (N, d), `transform` to one row per local feature.

    Args:
        size: centroids or Gaussians of the codebook.
        restarts: runs of the clustering, the best of which is kept.
        seed: of the clustering.

    Attributes:
        count_: local features learned from.
    """

    arrays: ClassVar[tuple[str, ...]] = ("codebook_",)
    facts: ClassVar[tuple[str, ...]] = ("size", "restarts", "seed", "count_")

    def __init__(self, size: int, restarts: int = 5, seed: int = 0) -> None:
        self.size, self.restarts, self.seed = size, restarts, seed
        self.count_ = 0

    @abstractmethod
    def dimensions(self, features: int) -> int:
        """Length of an embedded feature of `features` dimensions."""

    def fit(self, features: torch.Tensor, codebook: Any = None) -> Self:
        """Learn from l2-normalised local features (N, d).

        Args:
            codebook: centroids (size, d), for the Fisher vector a GaussianMixture, to take instead of learning them.

        Raises:
            ModelError: too few features.
        """
        self.count_ = len(features)
        self.codebook_ = self._codebook(features) if codebook is None else codebook.to(features.device)
        return self

    def _codebook(self, features: torch.Tensor) -> Any:
        return kmeans(features, self.size, self.restarts, self.seed)

    @abstractmethod
    def raw(self, features: torch.Tensor) -> torch.Tensor:
        """(N, d) to (N, D), before what is linear in the embedded feature."""

    def linear(self, summed: torch.Tensor, count: torch.Tensor | float = 1.0) -> torch.Tensor:
        """What is linear: of sums (…, D) over `count` raw embedded features it gives the sum of the transformed ones."""
        return summed

    def transform(self, features: torch.Tensor) -> torch.Tensor:
        """Local features (N, d), l2-normalised, to (N, D); no final l2."""
        return self.linear(self.raw(features))


class FisherVector(Embedding):
    """Gradients to means and deviations of a Gaussian mixture (equation 4): u_1 … u_k, v_1 … v_k, 2kd in all."""

    codebook_: GaussianMixture
    arrays = ()
    parts: ClassVar[dict[str, type[Learned]]] = {"codebook_": GaussianMixture}

    def dimensions(self, features: int) -> int:
        return 2 * self.size * features

    def _codebook(self, features: torch.Tensor) -> GaussianMixture:
        return gaussian_mixture(features, self.size, self.restarts, self.seed)

    def posteriors(self, features: torch.Tensor) -> torch.Tensor:
        """(N, d) to (N, k): the share of each Gaussian in each feature."""
        weights, means, variances = (values.double() for values in (self.codebook_.weights, self.codebook_.means, self.codebook_.variances))
        points = features.double()
        squares = points.square() @ (1 / variances).T - 2 * points @ (means / variances).T + (means.square() / variances).sum(dim=1)
        return torch.softmax(weights.log() - (squares + variances.log().sum(dim=1)) / 2, dim=1).to(features.dtype)

    def raw(self, features: torch.Tensor) -> torch.Tensor:
        mixture = self.codebook_
        shares = (self.posteriors(features) / mixture.weights.sqrt())[..., None]
        standard = (features[:, None] - mixture.means) / mixture.variances.sqrt()
        deviations = standard.square().sub_(1).mul_(shares / math.sqrt(2))
        return torch.cat([standard.mul_(shares).flatten(1), deviations.flatten(1)], dim=1)


class VLAD(Embedding):
    """The residual to the nearest centroid, in that centroid's block (equation 5): kd."""

    def dimensions(self, features: int) -> int:
        return self.size * features

    def raw(self, features: torch.Tensor) -> torch.Tensor:
        nearest = torch.cdist(features, self.codebook_, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        embedded = features.new_zeros(len(features), self.size, features.shape[1])
        embedded[torch.arange(len(features), device=features.device), nearest] = features - self.codebook_[nearest]
        return embedded.flatten(1)


class WhitenedEmbedding(Embedding):
    """An embedding whose raw vectors are centred and whitened; the whitening is learned block by block, never from all raw vectors at once.

    Args:
        floor: number of smallest eigenvalues raised to the largest among them.
    """

    facts = (*Embedding.facts, "floor")
    parts: ClassVar[dict[str, type[Learned]]] = {"whitening_": FlooredWhitening}
    default_floor: ClassVar[int]

    def __init__(self, size: int, restarts: int = 5, seed: int = 0, floor: int | None = None) -> None:
        super().__init__(size, restarts, seed)
        self.floor = self.default_floor if floor is None else floor

    def fit(self, features: torch.Tensor, codebook: Any = None, floor: int | None = None) -> Self:
        """Learn from l2-normalised local features (N, d).

        Args:
            codebook: centroids (size, d) to take instead of learning them.
            floor: instead of the constructor's.

        Raises:
            ModelError: too few features for the codebook or for the whitening.
        """
        super().fit(features, codebook)
        self.floor = self.floor if floor is None else floor
        length = self.dimensions(features.shape[1])
        needed = length - max(self.floor, 1) + 2
        if len(features) < needed:
            raise ModelError(
                f"whitening {length} embedded dimensions needs at least {needed} held-out features, there are {len(features)}; "
                "use more held-out images, a smaller codebook, fewer local_dimensions, or raise more eigenvalues (floor)"
            )
        moments = Moments.of(self.raw(part) for part in features.split(max(1, VALUES_AT_ONCE // length)))
        self.whitening_ = FlooredWhitening(self.floor).fit_moments(moments)
        return self

    def linear(self, summed: torch.Tensor, count: torch.Tensor | float = 1.0) -> torch.Tensor:
        return self.whitening_.transform_sum(summed, count)


class TriangulationEmbedding(WhitenedEmbedding):
    """Directions to all centroids (equation 6), centred and whitened with the smallest 33 eigenvalues raised to the 33rd smallest: kd."""

    default_floor = 33

    def dimensions(self, features: int) -> int:
        return self.size * features

    def raw(self, features: torch.Tensor) -> torch.Tensor:
        return l2(features[:, None] - self.codebook_).flatten(1)


class FunctionApproximationEmbedding(WhitenedEmbedding):
    """F-FAemb (equations 7 and 8): block j is γ_j(x) times the upper triangle of r rᵀ, r = l2(x − v_j); k · d(d+1)/2.

    The bases are those of the k-means run that minimises the full objective. The smallest 129 eigenvalues are raised.
    """

    default_floor = 129
    penalty = 0.01

    def dimensions(self, features: int) -> int:
        return self.size * features * (features + 1) // 2

    def _codebook(self, features: torch.Tensor) -> torch.Tensor:
        runs = [kmeans(features, self.size, 1, self.seed + restart) for restart in range(self.restarts)]
        objectives = [self.objective(features, bases) for bases in runs]
        return runs[objectives.index(min(objectives))]

    @classmethod
    def coefficients(cls, features: torch.Tensor, bases: torch.Tensor) -> torch.Tensor:
        """γ (N, k) of features (N, d) in bases (k, d): least squares with penalty μ · a · ‖γ‖²/2, a = Σ_j ‖x − v_j‖₁³, under Σ γ = 1."""
        eigenvalues, vectors = torch.linalg.eigh(bases.double() @ bases.double().T)
        weight = cls.penalty * torch.cdist(features, bases, p=1).pow(3).sum(dim=1, keepdim=True)
        inverse = 1 / (eigenvalues.clamp(min=0).to(features.dtype) + weight)
        vectors = vectors.to(features.dtype)
        free: torch.Tensor = (features @ (bases.T @ vectors) * inverse) @ vectors.T
        ones: torch.Tensor = (vectors.sum(dim=0) * inverse) @ vectors.T
        solved: torch.Tensor = free + ones * ((1 - free.sum(dim=1, keepdim=True)) / ones.sum(dim=1, keepdim=True))
        return solved

    @classmethod
    def objective(cls, features: torch.Tensor, bases: torch.Tensor) -> float:
        """Mean over the features of ½‖x − Vγ‖² + μ · a · ‖γ‖²/2."""
        gamma = cls.coefficients(features, bases)
        weight = cls.penalty * torch.cdist(features, bases, p=1).pow(3).sum(dim=1)
        errors = (features - gamma @ bases).square().sum(dim=1)
        return float((errors + weight * gamma.square().sum(dim=1)).double().mean() / 2)

    def raw(self, features: torch.Tensor) -> torch.Tensor:
        rows, columns = torch.triu_indices(features.shape[1], features.shape[1], device=features.device)
        residuals = l2(features[:, None] - self.codebook_)
        products: torch.Tensor = residuals[..., rows] * residuals[..., columns]
        products.mul_(self.coefficients(features, self.codebook_)[..., None])
        return products.flatten(1)


EMBEDDINGS: dict[str, type[Embedding]] = {
    "fisher": FisherVector,
    "vlad": VLAD,
    "triangulation": TriangulationEmbedding,
    "function_approximation": FunctionApproximationEmbedding,
}
