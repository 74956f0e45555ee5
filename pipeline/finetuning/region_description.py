"""Training of the region descriptor, or of the simplified siamese one, by triplets (paper 4, §3.2 and §3.4.2)."""

from typing import ClassVar, assert_never

import numpy as np
import torch

from pipeline.finetuning.augmentation import Pixels, changed, limit_aspect, sided
from pipeline.finetuning.losses import triplet_losses, window_cross_entropy
from pipeline.finetuning.mining import DescriptorSimilarities, balanced, easiest_hardest_triplets, hardest_triplets, semi_hard_triplets
from pipeline.finetuning.params import RegionDescriptorParameters
from pipeline.finetuning.photographs import Photographs
from pipeline.finetuning.step import BatchLoss, TrainingStep, View, Views
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training_set import TrainingSet
from pipeline.networks.region_head import RegionForm, RegionHead, top_windows
from pipeline.projections.whitening import PCA
from pipeline.stage.errors import ModelError


class RegionDescription(TrainingStep):
    """Triplets of photographs with shared weights; the regions' classification regularises (equation 3.6).

    The classifier works without dropout, so that training looks at the regions that the descriptor is made of later.
    """

    unit: ClassVar[str] = "triplets"
    dropout: ClassVar[bool] = False

    def __init__(self, parameters: RegionDescriptorParameters, network: TrainableNetwork, data: TrainingSet, photographs: Photographs) -> None:
        super().__init__(parameters, network, data, photographs)
        self.parameters = parameters
        if self._needs_classes and network.labels != data.classes:
            raise ModelError(
                f"{parameters.start} does not classify the {len(data.classes)} instances of {parameters.dataset} that are trained on; "
                "start from a step of classification on the same data set, or set regions to null and classification to 0"
            )
        if not self._needs_classes:
            network.classifier, network.labels = None, ()
        channels = int(network.card["channels"])
        network.head = RegionHead(RegionForm(network.window, parameters.regions, parameters.content), channels, parameters.dimensions)
        network.head.to(network.device)

    @property
    def guessing(self) -> float | None:
        return None

    @property
    def _needs_classes(self) -> bool:
        return self.parameters.regions is not None or self.parameters.classification > 0

    @property
    def _head(self) -> RegionHead:
        assert self.network.head is not None
        return self.network.head

    def prepare(self) -> None:
        """The head's first weights: at random, or the principal components of the training photographs' regions."""
        with torch.no_grad():
            match self.parameters.initial:
                case "random":
                    self._head.draw(self.seed)
                case "pca":
                    regions = torch.cat([self._regions(self.test_view(index)[None]) for index in range(self.data.trained)])
                    shift, weight = principal_projection(regions, self.parameters.dimensions)
                    self._head.shift.copy_(shift)
                    self._head.weight.copy_(weight)
                case _:
                    assert_never(self.parameters.initial)

    def plan(self, epoch: int, descriptors: torch.Tensor) -> torch.Tensor:
        mining = self.parameters.mining
        labels = self.labels[: self.data.trained]
        similarity = DescriptorSimilarities(descriptors[: self.data.trained])
        match mining.rule:
            case "easiest_hardest":
                triplets = easiest_hardest_triplets(similarity, labels, mining.positives, mining.negatives, mining.kept)
            case "semi_hard_then_hardest" if epoch <= mining.semi_hard_epochs:
                triplets = semi_hard_triplets(similarity, labels, self.seed * 1_000_003 + epoch)
            case "semi_hard_then_hardest":
                triplets = hardest_triplets(similarity, labels)
            case _:
                raise ValueError(f"rule {mining.rule!r} of mining is unknown; there are: semi_hard_then_hardest, easiest_hardest")
        shuffled = self.shuffled(triplets.cpu(), epoch)
        match mining.order:
            case "random":
                return shuffled[: mining.at_most]
            case "balanced":
                return balanced(shuffled, self.data.labels[shuffled[:, 0]])[: mining.at_most]
            case _:
                assert_never(mining.order)

    def views(self, items: torch.Tensor, key: tuple[int, ...]) -> list[View]:
        return list(dict.fromkeys(view for triplet in items.tolist() for view in _views_of(triplet, key)))

    def render(self, view: View) -> tuple[Pixels, ...]:
        random = view.random()
        image = limit_aspect(self.photographs.image(view.index), self.parameters.maximal_aspect, random)
        return (np.array(changed(sided(image, self.parameters.side), self.parameters.augmentation, random)),)

    def loss(self, items: torch.Tensor, key: tuple[int, ...], views: Views, batch: int) -> BatchLoss:
        wanted = self.views(items, key)
        described = [self._described(views[view][0][None], view.index) for view in wanted]
        place = {view: position for position, view in enumerate(wanted)}
        triplets = torch.tensor([[place[view] for view in _views_of(triplet, key)] for triplet in items.tolist()], device=self.labels.device)
        descriptors = torch.cat([descriptor for descriptor, _ in described])
        entropies = torch.cat([entropy for _, entropy in described])[triplets]
        match self.parameters.classified:
            case "anchor":
                entropies = entropies[:, 0]
            case "all":
                entropies = entropies.mean(dim=1)
            case _:
                assert_never(self.parameters.classified)
        losses = triplet_losses(descriptors, triplets, self.parameters.margin)
        value = losses.sum() + self.parameters.classification * entropies.sum() / batch
        total = losses.detach() + self.parameters.classification * entropies.detach()
        return BatchLoss(value, float(total.sum()), float((losses > 0).sum()))

    def test_view(self, index: int) -> Pixels:
        return np.array(sided(self.photographs.image(index), self.parameters.side))

    def describe(self, pixels: Pixels) -> torch.Tensor:
        maps = self.network.maps(pixels)
        descriptors: torch.Tensor = self._head(maps, self._choosing_scores(maps))
        return descriptors

    def _regions(self, pixels: Pixels) -> torch.Tensor:
        maps = self.network.maps(pixels)
        return self._head.regions(maps, self._choosing_scores(maps)).flatten(0, 1)

    def _choosing_scores(self, maps: torch.Tensor) -> torch.Tensor | None:
        """Scores that regions are chosen by; None where the whole map is the region."""
        return self.network.scores(maps) if self.parameters.regions is not None else None

    def _described(self, pixels: Pixels, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptor (1, D) and cross-entropy (1,) of one view; the regions are chosen, and classified, without dropout."""
        maps = self.network.maps(pixels)
        if not self._needs_classes:
            return self._head(maps, None), maps.new_zeros(1)
        scores, regions = self.network.scores(maps), self.parameters.regions
        label = self.labels[index : index + 1]
        places = top_windows(scores, regions) if regions is not None else None
        return self._head(maps, scores if regions is not None else None), window_cross_entropy(scores, label, places)


def principal_projection(vectors: torch.Tensor, dimensions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(shift (D,), weight (dimensions, D)) so that weight · (vector + shift) are principal components, as they are (Gordo et al., 2016).

    They are not whitened: whitening many dimensions on the database's own photographs makes those of one instance orthogonal.

    Args:
        vectors: (N, D).

    Raises:
        ModelError: more components than the vectors allow.
    """
    axes = PCA().fit(vectors)
    allowed = len(axes.components_)
    if dimensions > allowed:
        raise ModelError(
            f"dimensions: {dimensions} components are wanted, but {len(vectors)} regions of the training photographs allow only {allowed}; "
            "lower dimensions, or set initial to random"
        )
    return -axes.mean_, axes.components_[:dimensions]


def _views_of(triplet: list[int], key: tuple[int, ...]) -> tuple[View, View, View]:
    """A photograph that is its own positive is seen twice."""
    anchor, positive, negative = triplet
    return View(anchor, 0, key), View(positive, int(anchor == positive), key), View(negative, 0, key)
