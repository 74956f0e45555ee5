"""What a method demands of the active network and of boxes, before any stage runs: its classifier, parts that come with its weights, its last layer.

Whether a file of weights holds a part is not known before the stage `network` has read it; that stays an error of the stage `learn`.
"""

from typing import Any

from pipeline.aggregation import params as methods
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.networks.listing import default_layer
from pipeline.networks.params import ConcatenatedSource, NetworkSource, is_timm
from pipeline.stage.errors import ParameterError

HIDDEN_LAYERS = {"alexnet": ("fc6", "fc7"), "vgg16": ("fc6", "fc7"), "vgg19": ("fc6", "fc7")}
"""Fully connected layers below the scores, by architecture."""


def refuse_missing_parts(name: str, method: methods.MethodParameters, choice: NetworkChoice, networks: dict[str, Any], origin: str) -> None:
    """A method that takes a part of the network over finds one that may have it, and maps that it reads.

    Args:
        name: of the method.
        networks: the sections `networks`; an active network that is none of them is a step of training.

    Raises:
        ParameterError: the network cannot have the part, or its maps are of other layers.
    """
    source = networks.get(choice.name)
    if not method.adopts or source is None:
        return
    if isinstance(method, methods.RegionDescriptorParameters):
        raise ParameterError(f"{origin}: network.name: aggregate.{name} needs a step region_descriptor of `finetune`; {choice.name} is none")
    if isinstance(source, ConcatenatedSource):
        raise ParameterError(f"{origin}: network.name: aggregate.{name} takes a part of one network over; {choice.name} has members")
    if isinstance(method, methods.ClassScoresParameters):
        _refuse_scores(name, method, source, origin)
    elif source.weights in ("package", "torchvision") and not isinstance(method, methods.SaladParameters):
        field = "whitening" if isinstance(method, methods.SuperGlobalParameters) else "regional_whitening"
        raise ParameterError(f"{origin}: aggregate.{name}.{field}: the published weights of {choice.name} hold no projection; use pca_whitening")
    if not isinstance(method, methods.SaladParameters):
        default = default_layer(source.architecture)
        if choice.layers not in ((), (default,)) or choice.pooled:
            wanted = f"set it to [{default}], and network.pooled to false"
            raise ParameterError(f"{origin}: network.layers: aggregate.{name} reads maps of the network's last layer; {wanted}")


def _refuse_scores(name: str, method: methods.ClassScoresParameters, source: NetworkSource, origin: str) -> None:
    if is_timm(source.architecture):
        raise ParameterError(f"{origin}: network.name: aggregate.{name} reads a classifier, and timm's networks are loaded without theirs")
    known = ("scores", *HIDDEN_LAYERS.get(source.architecture, ()))
    if method.layer not in known:
        raise ParameterError(f"{origin}: aggregate.{name}.layer: {source.architecture} has no {method.layer!r}; there are: {', '.join(known)}")


def refuse_useless_boxes(name: str, method: methods.MethodParameters, query_crop: str, rerank: str, origin: str) -> None:
    """Boxes are used where a part of the maps can be described.

    Args:
        name: of the method.
        query_crop: of `resize`.
        rerank: the method of re-ranking.

    Raises:
        ParameterError: they are to be used where every cell has the same vector, or where a part may have too few cells.
    """
    if isinstance(method, methods.ClassTokenParameters) and method.patches == "none":
        reason = "has the same class token in every cell, so that a box changes nothing"
    elif isinstance(method, methods.SaladParameters):
        reason = "needs more patches than its head has clusters, which a box may not hold"
    else:
        return
    if query_crop == "activations":
        raise ParameterError(f"{origin}: resize.query_crop: aggregate.{name} {reason}; use image, image_own_size or none")
    if rerank == "localization":
        raise ParameterError(f"{origin}: search.rerank.method: aggregate.{name} {reason}; use another than localization")
