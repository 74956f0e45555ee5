"""What is known of the published weights of an architecture: where they are, what they were trained on, and their licence."""

from dataclasses import dataclass

from pipeline.networks.params import is_timm
from pipeline.networks.registry import find_architecture


@dataclass(frozen=True)
class PublishedWeights:
    """Of one architecture.

    Attributes:
        url: of the file; None where a package ships it, or nobody names it.
        hub_id: its name on the Hugging Face hub; None where it is not there.
        trained_on: training sets, by the names of training_sets.json.
        licence: None where nothing states one.
    """

    url: str | None
    hub_id: str | None
    trained_on: tuple[str, ...]
    licence: str | None


def published_weights(architecture: str) -> PublishedWeights:
    """As torchvision, the package or timm say it.

    Raises:
        ModelError: there is no such architecture.
    """
    if not is_timm(architecture):
        own = find_architecture(architecture)
        return PublishedWeights(own.url, None, own.trained_on, own.licence)
    from pipeline.networks.timm_layers import published

    found = published(architecture)
    return PublishedWeights(found.url or None, found.hub_id or None, found.trained_on, found.license or None)
