"""The list of architectures with what is computed from their graphs."""

import torch

from pipeline.networks.registry import ARCHITECTURES, load_network


def print_networks() -> None:
    """Print every architecture's default layer, its stride, receptive field and channels, and all its layers."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Architectures (`architecture` of a network in params.yaml)")
    for heading in ("architecture", "layer", "stride", "receptive field", "channels", "weights", "other layers"):
        table.add_column(heading, justify="right" if heading in ("stride", "receptive field", "channels") else "left")
    for name, architecture in ARCHITECTURES.items():
        with torch.device("meta"):
            shapes = architecture.build().state_dict()
        network = load_network(name, {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()})
        weights = "package" if architecture.package else "torchvision"
        others = " ".join(layer for layer in network.layer_names if layer != architecture.default)
        table.add_row(name, architecture.default, str(network.stride), str(network.receptive_field), str(network.channels), weights, others)
    Console().print(table)
