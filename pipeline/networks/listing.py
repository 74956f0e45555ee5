"""The list of architectures: printed from a file without loading any network, and that file as computed from the networks' graphs.

`python -m pipeline.networks.listing` writes the file again; a test compares the two.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from pipeline.networks.params import is_timm
from pipeline.stage.tables import read_json, write_json
from pipeline.stage.text_tables import markdown

if TYPE_CHECKING:
    from pipeline.networks.network import Network

LISTING = Path(__file__).parent / "architectures.json"
WIDTH = 100


def print_networks() -> None:
    """Print every architecture's default layer, its stride, receptive field and channels, and all its layers."""
    listed = _listed()
    columns = ("layer", "stride", "receptive_field", "channels", "weights")
    rows = [[name, *(described[column] for column in columns)] for name, described in listed.items()]
    print("Values of `architecture` of a network in params.yaml, each with its default layer:\n")
    print(markdown(["architecture", *columns], rows))
    print("\nAny of the library timm is one, too: timm/NAME. `retrieval networks timm/NAME` lists its layers.")
    print("\nAll layers, from the input to the output:\n")
    for name, described in listed.items():
        print(fill(f"{name}: {' '.join(described['layers'])}", WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))


def print_network(architecture: str) -> None:
    """Print every layer of one architecture with its stride, receptive field and channels, and where its weights come from.

    Raises:
        ModelError: there is no such architecture.
    """
    from pipeline.networks.published_weights import published_weights

    names = network_without_weights(architecture, ()).layer_names
    network = network_without_weights(architecture, names)
    geometries = [network.geometry(layer) for layer in names]
    fields = ["the whole image" if each.receptive_field is None else each.receptive_field for each in geometries]
    rows = [list(row) for row in zip(names, [each.stride for each in geometries], fields, network.parts, strict=True)]
    print(markdown(["layer", "stride", "receptive_field", "channels"], rows))
    found = published_weights(architecture)
    where = found.url or ("timm names none" if is_timm(architecture) else "in a package that is installed")
    print(f"\nWeights: {where}\nTrained on: {', '.join(found.trained_on) or 'not said'}\nLicence: {found.licence or 'not said'}")


def computed(names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """What the file says of architectures, all where none are named, computed from their graphs with weights that are all zero."""
    from pipeline.networks.registry import ARCHITECTURES

    listed = {}
    for name in names or ARCHITECTURES:
        architecture = ARCHITECTURES[name]
        network = network_without_weights(name, ())
        listed[name] = {
            "layer": architecture.default,
            "stride": network.stride,
            "receptive_field": network.receptive_field,
            "channels": network.channels,
            "weights": "package" if architecture.package else "torchvision",
            "layers": list(network.layer_names),
            "layer_channels": list(network_without_weights(name, network.layer_names).parts),
        }
    return listed


def layer_channels(architecture: str, layer: str | None) -> int:
    """Channels of a layer's maps; of the default layer where none is named. Only a layer that is not listed, an operation by its name in the
    module, is looked up in the network itself.

    Raises:
        ModelError: no such layer.
    """
    if is_timm(architecture):
        return network_without_weights(architecture, (layer,) if layer else ()).channels
    described = _listed()[architecture]
    if layer is None or layer in described["layers"]:
        return int(described["layer_channels"][described["layers"].index(layer or described["layer"])])
    return network_without_weights(architecture, (layer,)).channels


def default_layer(architecture: str) -> str:
    """The layer whose maps are taken where none is named."""
    return "final" if is_timm(architecture) else str(_listed()[architecture]["layer"])


@cache
def _listed() -> dict[str, dict[str, Any]]:
    listed: dict[str, dict[str, Any]] = read_json(LISTING)
    return listed


def network_without_weights(architecture: str, layers: Sequence[str], *, pooled: bool = False) -> "Network":
    """A network whose weights are all zero, or random where it is timm's; of the architecture's default layer where none are named."""
    import torch

    from pipeline.networks.registry import find_architecture, load_network

    if is_timm(architecture):
        from pipeline.networks.timm_layers import build

        return load_network(architecture, build(architecture).state_dict(), layers, pooled=pooled)
    with torch.device("meta"):
        shapes = find_architecture(architecture).build().state_dict()
    return load_network(architecture, {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}, layers, pooled=pooled)


if __name__ == "__main__":
    write_json(LISTING, computed())
