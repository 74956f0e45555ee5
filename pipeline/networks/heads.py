"""What a network's folder holds besides the weights of its convolutions: its classifier, and the head that describes regions."""

from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.contracts.models import load_tensors
from pipeline.networks.classifier import Classifier, classes_of
from pipeline.networks.region_head import RegionHead
from pipeline.networks.registry import CARD
from pipeline.networks.trainable import trainable
from pipeline.stage.errors import ModelError
from pipeline.stage.tables import read_json

CLASSIFIER, DESCRIPTOR = "classifier.safetensors", "descriptor.safetensors"


@dataclass(frozen=True)
class Heads:
    """Attributes:
    classifier: None where the weights came without one.
    labels: of the classes: instances of the data set it was fine-tuned on; empty for classes without names.
    descriptor: None where it was not trained.
    """

    classifier: Classifier | None
    labels: tuple[str, ...]
    descriptor: RegionHead | None


def load_heads(folder: Path) -> Heads:
    """The heads of data/networks/NETWORK, in evaluation mode.

    Raises:
        ModelError: several networks, which have none, or tensors that do not fit the card.
    """
    card = read_json(folder / CARD)
    if "members" in card:
        raise ModelError(f"{folder}: several networks have no classifier in common; make one of them the active network")
    descriptor = None
    if (folder / DESCRIPTOR).exists():
        descriptor = RegionHead.from_state(load_tensors(folder / DESCRIPTOR), card["descriptor"])
    classifier = load_classifier(card["architecture"], load_tensors(folder / CLASSIFIER)) if (folder / CLASSIFIER).exists() else None
    return Heads(classifier, tuple(card.get("labels", ())), descriptor)


def load_classifier(architecture: str, tensors: dict[str, torch.Tensor]) -> Classifier:
    """A classifier of as many classes as its weights have, in evaluation mode.

    Raises:
        ModelError: weights of another one.
    """
    channels = next((value.shape[1] for value in tensors.values() if value.ndim > 1), 1)  # of the first layer
    form = trainable(architecture, channels).classifier
    with torch.device("meta"):
        classifier = Classifier(form, classes_of(form, tensors))
    classifier.load(tensors)
    return classifier.requires_grad_(False).eval()
