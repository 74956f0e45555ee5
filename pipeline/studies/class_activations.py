"""Stage class_activations: where the active network's classifier responds most, and with which class (paper 4, fig. 3.1), to
reports/activations/BENCHMARK.json."""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

from pipeline.contracts.features.feature_shards import KIND, FeatureFacts
from pipeline.contracts.running.device import choose_device, hold
from pipeline.maps.stream import stream_maps
from pipeline.networks.heads import Heads, load_heads
from pipeline.networks.registry import CARD
from pipeline.stage import places
from pipeline.stage.catalogue import CatalogueRow, read_catalogue, read_ground_truth
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json, write_json
from pipeline.studies.params import ActivationStudyParameters
from pipeline.studies.sampling import evenly, thumbnail

log = logging.getLogger(__name__)
IMAGENET_CLASSES = 1000


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `activation_study` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    parameters = load_section(ActivationStudyParameters, f"activation_study.{benchmark}")
    images, features = places.images(parameters.dataset), places.features(parameters.dataset)
    extracted = FeatureFacts.of(load_manifest(features, KIND))
    network = places.network(extracted.network.name)
    output = places.study("activations", benchmark)
    heads, reason = usable_heads(network, extracted)
    pictures: list[dict[str, Any]] = []
    if heads is not None:
        queries = set(read_ground_truth(images / places.GROUND_TRUTH).queries)
        rows = [row for row in read_catalogue(images / places.CATALOGUE) if row.image_id in queries and row.readable]
        chosen = set(evenly([row.image_id for row in rows], parameters.pictures))
        with hold(choose_device()) as device:
            pictures = _pictures(features, images, {row.image_id: row for row in rows if row.image_id in chosen}, heads, parameters.thumbnail, device)
    write_json(output, {"network": network.name, "reason": reason, "pictures": pictures})
    log.info("%s: %s.", output, f"{len(pictures)} pictures" if heads else reason)
    return Produced((output,), len(pictures), "pictures")


def usable_heads(network: Path, extracted: FeatureFacts) -> tuple[Heads | None, str]:
    """The network's heads where its classifier can read the maps; else None, and why not.

    Args:
        extracted: facts of the feature maps.
    """
    card = read_json(network / CARD)
    if "members" in card:
        return None, "several networks have no classifier in common"
    choice = extracted.network
    if list(choice.layers) not in ([], [card["default_layer"]]) or choice.pooled or extracted.extract.patch_levels:
        return None, "the classifier reads maps of the last layer"
    heads = load_heads(network)
    return (heads, "") if heads.classifier is not None else (None, "the network came without a classifier")


def activation_maps(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The maximal class activation (H, W) of scores (C, H, W), and its class where it is above the mean of the map, else −1."""
    heat, labels = scores.max(dim=0)
    return heat, torch.where(heat > heat.mean(), labels, -1) if heat.numel() > 1 else labels


def class_name(heads: Heads, classes: int, label: int) -> str:
    """What a class of a classifier is called; classifiers of ImageNet's 1000 classes have these in ImageNet's order."""
    if heads.labels:
        return heads.labels[label]
    if classes == IMAGENET_CLASSES:
        from torchvision.models import ResNet50_Weights

        return str(ResNet50_Weights.IMAGENET1K_V1.meta["categories"][label])
    return f"class {label}"


def _pictures(features: Path, images: Path, chosen: dict[str, CatalogueRow], heads: Heads, side: int, device: torch.device) -> list[dict[str, Any]]:
    assert heads.classifier is not None
    classifier = heads.classifier.to(device)
    found = []
    for ids, batch in stream_maps(features, set(chosen), device, images):
        with torch.inference_mode():
            scores = classifier(batch.scales[0])
        for image_id, own, picture in zip(ids, scores, batch.pictures, strict=True):
            heat, labels = activation_maps(own)
            names = {str(label): class_name(heads, len(own), label) for label in labels.unique().tolist() if label >= 0}
            about = {"image_id": image_id, "instance": chosen[image_id].instance, "jpeg": thumbnail(picture.pixels, side)}
            found.append(about | {"heat": heat.cpu().numpy().round(3).tolist(), "labels": labels.tolist(), "names": names})
    return found


if __name__ == "__main__":
    run_stage(main)
