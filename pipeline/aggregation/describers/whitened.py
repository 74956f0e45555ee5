"""Describers that end with a whitening, or with nothing but l2."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch

from pipeline.aggregation.describers.whole_image import WholeImageDescriber
from pipeline.aggregation.params import WhitenedParameters
from pipeline.maps.stream import MapStream
from pipeline.projections.adaptation import LinearAdaptation, Training
from pipeline.projections.moments import Moments
from pipeline.projections.normalization import l2
from pipeline.projections.whitening import PCA, WHITENINGS, LearnedWhitening
from pipeline.stage.errors import ModelError


class WhitenedDescriber(WholeImageDescriber):
    """Ends with the whitening that `whitening`, `dimensions` and `shrinkage` name."""

    parameters: WhitenedParameters
    kinds: ClassVar[dict[str, Any]] = {kind.__name__: kind for kind in (*WHITENINGS.values(), LearnedWhitening, LinearAdaptation)}

    def fit(self, maps: MapStream) -> None:
        if self.parameters.whitening not in ("learned", "adaptation"):
            super().fit(maps)
            return
        self.fit_before(maps)
        vectors, instances = zip(*((self.pooled(batch), batch.instances) for batch in maps()), strict=True)
        with naming(f"aggregate.{self.method}.{'whitening' if self.parameters.whitening == 'adaptation' else 'dimensions'}"):
            self.models["final"] = self._by_instances().fit(torch.cat(vectors), list(itertools.chain.from_iterable(instances)))

    def _by_instances(self) -> LearnedWhitening | LinearAdaptation:
        """What learns from what the held-out images show, and has not learned yet."""
        own = self.parameters
        if own.whitening == "adaptation":
            return LinearAdaptation(Training(**own.adaptation.model_dump()), own.dimensions)
        return LearnedWhitening(own.dimensions, own.shrinkage)

    def fit_final(self, vectors: Iterator[torch.Tensor]) -> None:
        if self.parameters.whitening != "none":
            with naming(f"aggregate.{self.method}.dimensions"):
                self.models["final"] = learn_whitening(self.parameters.whitening, self.parameters.dimensions, self.parameters.shrinkage, vectors)

    def finish(self, vectors: torch.Tensor) -> torch.Tensor:
        return l2(self.models["final"].transform(vectors)) if "final" in self.models else vectors

    def dimensions(self, channels: int) -> int:
        return len(self.models["final"].components_) if "final" in self.models else channels


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Say which parameter a model was learned for, where it cannot be."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from None


def learn_whitening(kind: str, dim: int | None, shrinkage: float, batches: Iterator[torch.Tensor]) -> PCA:
    """Learn a model of WHITENINGS from a stream of (N, D) vectors."""
    return WHITENINGS[kind](dim, shrinkage).fit_moments(Moments.of(batches))
