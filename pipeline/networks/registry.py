"""Every architecture by name, and loading one with its weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from pipeline.contracts.models import load_tensors
from pipeline.networks import params
from pipeline.networks.architecture import Architecture
from pipeline.networks.concatenation import ConcatenatedNetwork
from pipeline.networks.network import Network
from pipeline.networks.params import is_timm
from pipeline.networks.preprocessing import PREPROCESSINGS, Preprocessing
from pipeline.networks.traced_layers import TracedLayers
from pipeline.stage.errors import ModelError
from pipeline.stage.named import Named
from pipeline.stage.places import NETWORK_CARD
from pipeline.stage.tables import read_json

ARCHITECTURES: Named[Architecture] = Named("pipeline.networks", params.ARCHITECTURES)
WEIGHTS, CARD = "weights.safetensors", NETWORK_CARD
MODELS_OWN = "timm"
"""The name in a card of the input convention that timm gives with a model."""


def load_network(
    name: str,
    weights: Path | dict[str, torch.Tensor],
    layers: Sequence[str] | None = None,
    preprocessing: str | None = None,
    pooled: bool = False,
) -> Network:
    """An architecture with its weights, ready for inference.

    Args:
        name: a key of ARCHITECTURES, or timm/NAME.
        weights: a safetensors file, or the tensors themselves, by the architecture's keys.
        layers: whose outputs are the feature maps, concatenated; the architecture's default where none are named.
        preprocessing: a key of PREPROCESSINGS; the architecture's own where nothing is said.
        pooled: max-pool each layer 2×2 with stride 2, as hyper-columns do (paper 3).

    Raises:
        ModelError: unknown architecture or layer, or weights of another architecture.
    """
    tensors = load_tensors(weights) if isinstance(weights, Path) else weights
    if is_timm(name):
        return _timm_network(name, tensors, layers, preprocessing, pooled)
    architecture = find_architecture(name)
    module = load_convolutions(name, tensors)
    chosen = PREPROCESSINGS[preprocessing or architecture.preprocessing]
    return Network(TracedLayers(architecture.finish(module), architecture.layers), layers or (architecture.default,), chosen, pooled)


def _timm_network(name: str, tensors: dict[str, torch.Tensor], layers: Sequence[str] | None, preprocessing: str | None, pooled: bool) -> Network:
    """timm is imported here, so that networks without it do not wait for it."""
    from pipeline.networks import timm_layers

    chosen = preprocessing_of(name, preprocessing or MODELS_OWN)
    return Network(timm_layers.TimmLayers(timm_layers.load(name, tensors)), layers or (timm_layers.FINAL,), chosen, pooled)


def preprocessing_of(architecture: str, named: str) -> Preprocessing:
    """The input convention that a card names: a key of PREPROCESSINGS, or MODELS_OWN."""
    if named != MODELS_OWN:
        return PREPROCESSINGS[named]
    from pipeline.networks.timm_layers import published

    return published(architecture).preprocessing


def find_architecture(name: str) -> Architecture:
    """One of ARCHITECTURES.

    Raises:
        ModelError: there is no such architecture here.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture {name!r} is unknown; there are: {', '.join(ARCHITECTURES)}, and timm/NAME")
    return ARCHITECTURES[name]


def load_convolutions(name: str, tensors: dict[str, torch.Tensor]) -> nn.Module:
    """An architecture's convolutions with their weights, in evaluation mode, not yet prepared for fast inference.

    Raises:
        ModelError: weights of another architecture.
    """
    if is_timm(name):
        from pipeline.networks import timm_layers

        return timm_layers.convolutions(timm_layers.load(name, tensors))
    with torch.device("meta"):
        module = ARCHITECTURES[name].build()
    _load(module, tensors, name)
    return module.eval()


def load_from_folder(folder: Path, layers: Sequence[str] | None = None, pooled: bool = False) -> Network | ConcatenatedNetwork:
    """The network, or the concatenated ones, that the network stage wrote to data/networks/NAME.

    Raises:
        ModelError: unknown layer, or `layers` for several networks, whose members name their own.
    """
    card = read_json(folder / CARD)
    if "members" not in card:
        return load_network(card["architecture"], folder / WEIGHTS, layers, card["preprocessing"], pooled)
    if layers:
        raise ModelError(f"{folder}: several networks; name layers for each of its members, and none in network.layers")
    return ConcatenatedNetwork(
        [
            load_network(member["architecture"], folder / member_weights(index), member["used_layers"], member["preprocessing"], pooled)
            for index, member in enumerate(card["members"])
        ]
    )


def member_weights(index: int) -> str:
    """The weights file of one of several networks."""
    return f"weights-{index}.safetensors"


def own_keys(name: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published weights by the architecture's own keys: prefix and classifier dropped, numbered children named.

    Raises:
        ModelError: they are weights of another architecture.
    """
    if is_timm(name):
        from pipeline.networks.timm_layers import own_tensors

        return own_tensors(name, tensors)
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        module = architecture.build()
    expected = module.state_dict()
    children = [child for child, _ in module.named_children()]
    renamed = {}
    for key, value in tensors.items():
        own = key.removeprefix(architecture.prefix)
        first, _, rest = own.partition(".")
        if own not in expected and first.isdigit() and int(first) < len(children):
            own = f"{children[int(first)]}.{rest}"
        if own in expected:
            renamed[own] = value.to(expected[own].dtype).contiguous()
    _load(module, renamed, name)
    return renamed


def _load(module: nn.Module, tensors: dict[str, torch.Tensor], name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(expected.keys() - optional - tensors.keys())
    wrong = sorted(key for key in tensors.keys() & expected.keys() if tuple(tensors[key].shape) != expected[key])
    if missing or wrong:
        first = (missing or wrong)[0]
        reason = f"{len(missing)} tensors are missing" if missing else f"{len(wrong)} tensors have another shape"
        raise ModelError(f"the weights are not those of {name}: {reason}, the first is {first} {expected[first]}")
    filled = {key: tensors.get(key, torch.zeros((), dtype=torch.long)) for key in expected}
    module.load_state_dict(filled, assign=True)
