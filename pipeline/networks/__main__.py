"""Stage network: fetch, verify and convert the weights of a network, or of several, to data/networks/NETWORK/, next to a card about them."""

import argparse
import logging
from pathlib import Path
from typing import Any

from pipeline.contracts.models import save_tensors
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.networks.classifier import classes_of, published
from pipeline.networks.heads import CLASSIFIER
from pipeline.networks.params import ConcatenatedSource, MemberSource, NetworkSource, network_from
from pipeline.networks.region_projection import PROJECTION, RegionProjection
from pipeline.networks.registry import ARCHITECTURES, CARD, WEIGHTS, load_network, member_weights, own_keys
from pipeline.networks.weights import fetch_weights, read_weights
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.fingerprint import file_sha256, fingerprint
from pipeline.stage.parameters import PARAMS_FILE, read_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import write_json

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="a name under `networks` of params.yaml")
    name = parser.parse_args(arguments).network
    path = f"networks.{name}"
    source = network_from(read_section(path), path, str(PARAMS_FILE))
    store = ScratchStore(f"network-{name}", fingerprint(source.model_dump()))
    if isinstance(source, ConcatenatedSource):
        files = [member_weights(index) for index in range(len(source.members))]
        cards = [_convert(f"{name}.members.{index}", member, store, files[index]) for index, member in enumerate(source.members)]
        card: dict[str, Any] = {"members": cards, "parameters": sum(member["parameters"] for member in cards)}
    else:
        files = [WEIGHTS]
        card = _convert(name, source, store, WEIGHTS)
        files += ([CLASSIFIER] if card["classes"] else []) + ([PROJECTION] if card["projection"] else [])
    write_json(store.path(CARD), card)
    output = places.network(name)
    store.publish(output, [*files, CARD], "network")
    log.info("%s: %d weights.", output, card["parameters"])
    return Produced((output,), len(card.get("members", [card])), "networks")


def _convert(name: str, source: NetworkSource, store: ScratchStore, target: str) -> dict[str, Any]:
    """Write one network's tensors, and the classifier's where the file holds it and there is one network; returns its card."""
    place = store.folder / Path(target).stem  # of its own: two members' files may have one name
    place.mkdir(exist_ok=True)
    file = fetch_weights(name, source, place)
    architecture = ARCHITECTURES[source.architecture]
    content = read_weights(file)
    tensors = own_keys(source.architecture, content)
    save_tensors(store.path(target), tensors)
    classifier = {} if isinstance(source, MemberSource) else published(architecture.classifier, content)
    if classifier:
        save_tensors(store.path(CLASSIFIER), classifier)
    preprocessing = source.preprocessing or architecture.preprocessing
    layers = source.layers if isinstance(source, MemberSource) else ()
    network = load_network(source.architecture, tensors, layers, preprocessing)
    projection = None if isinstance(source, MemberSource) else RegionProjection.published(content, network.channels)
    if projection:
        save_tensors(store.path(PROJECTION), projection.state()[0])
    return {
        "architecture": source.architecture,
        "preprocessing": preprocessing,
        "weights": {"from": source.weights, "file": file.name, "sha256": file_sha256(file)},
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "default_layer": architecture.default,
        "layers": list(network.layer_names),
        "used_layers": list(network.layers),
        "stride": network.stride,
        "receptive_field": network.receptive_field,
        "channels": network.channels,
        "classes": classes_of(architecture.classifier, classifier) if classifier else 0,
        "projection": len(projection.components_) if projection else 0,
    }


if __name__ == "__main__":
    run_stage(main)
