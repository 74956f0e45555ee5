"""Stage network: fetch, verify and convert one network's weights to data/networks/NETWORK/, beside a card that says which they are."""

import argparse
import logging
from pathlib import Path

from pipeline.contracts.entry import run_stage
from pipeline.contracts.fingerprint import file_sha256, fingerprint
from pipeline.contracts.models import save_tensors
from pipeline.contracts.parameters import load_section
from pipeline.contracts.run_record import Produced
from pipeline.contracts.scratch import ScratchStore
from pipeline.contracts.tables import write_json
from pipeline.networks.params import NetworkSource
from pipeline.networks.registry import ARCHITECTURES, CARD, WEIGHTS, load_network, own_keys
from pipeline.networks.weights import fetch_weights, read_weights

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="a name under `networks` of params.yaml")
    name = parser.parse_args(arguments).network
    source = load_section(NetworkSource, f"networks.{name}")
    store = ScratchStore(f"network-{name}", fingerprint(source.model_dump()))
    file = fetch_weights(name, source, store.folder)
    tensors = own_keys(source.architecture, read_weights(file))
    save_tensors(store.path(WEIGHTS), tensors)
    architecture = ARCHITECTURES[source.architecture]
    preprocessing = source.preprocessing or architecture.preprocessing
    network = load_network(source.architecture, tensors, preprocessing=preprocessing)
    card = {
        "architecture": source.architecture,
        "preprocessing": preprocessing,
        "weights": {"from": source.weights, "file": file.name, "sha256": file_sha256(file)},
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "default_layer": architecture.default,
        "layers": list(network.layer_names),
        "stride": network.stride,
        "receptive_field": network.receptive_field,
        "channels": network.channels,
    }
    write_json(store.path(CARD), card)
    output = Path("data/networks") / name
    store.publish(output, [WEIGHTS, CARD], "network")
    log.info("%s: %s from %s, %d weights.", output, source.architecture, source.weights, card["parameters"])
    return Produced((output,), len(tensors), "tensors")


if __name__ == "__main__":
    run_stage(main)
