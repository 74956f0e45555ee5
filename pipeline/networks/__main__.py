"""Stage network: fetch, verify and convert the weights of a network, or of several, to data/networks/NETWORK/, next to a card about them."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.contracts.models import save_tensors
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.networks.classifier import ClassifierForm, classes_of, published
from pipeline.networks.heads import CLASSIFIER
from pipeline.networks.params import ConcatenatedSource, MemberSource, NetworkSource, is_timm, network_from
from pipeline.networks.published_weights import PublishedWeights, published_weights
from pipeline.networks.region_projection import PROJECTION, RegionProjection
from pipeline.networks.registry import ARCHITECTURES, CARD, MODELS_OWN, WEIGHTS, load_network, member_weights, own_keys
from pipeline.networks.salad_head import SALAD, SaladHead, backbone_of
from pipeline.networks.weight_files import read_weights
from pipeline.networks.weights import DOWNLOADED, address_of, fetch_weights
from pipeline.stage import places
from pipeline.stage.entry import run_stage
from pipeline.stage.fingerprint import file_sha256, fingerprint
from pipeline.stage.parameters import PARAMS_FILE, read_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import write_json

log = logging.getLogger(__name__)
UNKNOWN = PublishedWeights(None, None, (), None)
"""Of a file that may hold any weights."""


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
        files += [file for file, key in ((CLASSIFIER, "classes"), (PROJECTION, "projection"), (SALAD, "salad")) if card.get(key)]
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
    known = _Known.of(source.architecture)
    content = read_weights(file)
    tensors = own_keys(source.architecture, backbone_of(content))
    save_tensors(store.path(target), tensors)
    form = None if isinstance(source, MemberSource) else known.classifier
    heads = {} if isinstance(source, MemberSource) else content  # several networks have none in common
    classifier = published(form, heads) if form else {}
    if classifier:
        save_tensors(store.path(CLASSIFIER), classifier)
    preprocessing = source.preprocessing or known.preprocessing
    layers = source.layers if isinstance(source, MemberSource) else ()
    network = load_network(source.architecture, tensors, layers, preprocessing)
    projection = RegionProjection.published(heads, network.channels)
    if projection:
        save_tensors(store.path(PROJECTION), projection.state()[0])
    salad = SaladHead.published(heads, network.channels)
    if salad:
        save_tensors(store.path(SALAD), salad.state()[0])
    return {
        "architecture": source.architecture,
        "preprocessing": preprocessing,
        "weights": _provenance(name, source, file),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "default_layer": known.default,
        "layers": list(network.layer_names),
        "used_layers": list(network.layers),
        "stride": network.stride,
        "receptive_field": network.receptive_field,
        "channels": network.channels,
        "classes": classes_of(form, classifier) if form and classifier else 0,
        "projection": len(projection.components_) if projection else 0,
        **({"salad": salad.dimensions} if salad else {}),
    }


def _provenance(name: str, source: NetworkSource, file: Path) -> dict[str, Any]:
    """Where the weights come from, what they were trained on, and their licence; what the parameters say goes before what is known."""
    address = address_of(name, source) if source.weights in DOWNLOADED else None
    named = is_timm(source.architecture) and "." in source.architecture  # with the tag of its weights, wherever the file lies
    known = published_weights(source.architecture) if named or source.weights not in ("file", "url") else UNKNOWN
    return {
        "from": source.weights,
        "address": address,
        "file": file.name,
        "sha256": file_sha256(file),
        "trained_on": list(known.trained_on if source.trained_on is None else source.trained_on),
        "licence": source.licence or known.licence,
        "published": known.hub_id,
    }


@dataclass(frozen=True)
class _Known:
    """What is known of an architecture.

    Attributes:
        classifier: None where it is not read from the weights.
    """

    default: str
    preprocessing: str
    classifier: ClassifierForm | None

    @classmethod
    def of(cls, name: str) -> "_Known":
        if not is_timm(name):
            architecture = ARCHITECTURES[name]
            return cls(architecture.default, architecture.preprocessing, architecture.classifier)
        from pipeline.networks.timm_layers import FINAL

        return cls(FINAL, MODELS_OWN, None)


if __name__ == "__main__":
    run_stage(main)
