"""The list of architectures: printed from a file without loading any network, and that file as computed from the networks' graphs.

`python -m pipeline.networks.listing` writes the file again; a test compares the two.
"""

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

from pipeline.stage.tables import read_json, write_json
from pipeline.stage.text_tables import markdown

LISTING = Path(__file__).parent / "architectures.json"
WIDTH = 100


def print_networks() -> None:
    """Print every architecture's default layer, its stride, receptive field and channels, and all its layers."""
    listed: dict[str, dict[str, Any]] = read_json(LISTING)
    columns = ("layer", "stride", "receptive_field", "channels", "weights")
    rows = [[name, *(described[column] for column in columns)] for name, described in listed.items()]
    print("Values of `architecture` of a network in params.yaml, each with its default layer:\n")
    print(markdown(["architecture", *columns], rows))
    print("\nAll layers, from the input to the output:\n")
    for name, described in listed.items():
        print(fill(f"{name}: {' '.join(described['layers'])}", WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))


def computed(names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """What the file says of architectures, all where none are named, computed from their graphs with weights that are all zero."""
    import torch

    from pipeline.networks.registry import ARCHITECTURES, load_network

    listed = {}
    for name in names or ARCHITECTURES:
        architecture = ARCHITECTURES[name]
        with torch.device("meta"):
            shapes = architecture.build().state_dict()
        network = load_network(name, {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()})
        listed[name] = {
            "layer": architecture.default,
            "stride": network.stride,
            "receptive_field": network.receptive_field,
            "channels": network.channels,
            "weights": "package" if architecture.package else "torchvision",
            "layers": list(network.layer_names),
        }
    return listed


if __name__ == "__main__":
    write_json(LISTING, computed())
