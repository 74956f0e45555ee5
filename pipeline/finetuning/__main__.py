"""Stage finetune: one step of training to data/networks/NAME, a network like the others, and its training curve to reports/training/NAME.csv."""

import argparse
import logging
from pathlib import Path
from typing import Any

from pipeline.contracts.images.image_shards import KIND as IMAGES
from pipeline.contracts.images.image_shards import ImageFacts
from pipeline.contracts.models import save_tensors
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.scratch import ScratchStore
from pipeline.contracts.running.settings import settings
from pipeline.finetuning.checkpoints import Checkpoints, Progressed
from pipeline.finetuning.params import StepParameters, step_from
from pipeline.finetuning.photographs import pack
from pipeline.finetuning.registry import STEP_CLASSES
from pipeline.finetuning.trainable_network import TrainableNetwork
from pipeline.finetuning.training import Training, summary
from pipeline.finetuning.training_set import TrainingSet
from pipeline.networks.heads import CLASSIFIER, DESCRIPTOR
from pipeline.networks.registry import CARD, WEIGHTS
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.errors import ModelError
from pipeline.stage.fingerprint import code_fingerprint, fingerprint
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import PARAMS_FILE, read_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import read_json, write_json
from pipeline.stage.text_tables import write_csv

log = logging.getLogger(__name__)
CURVE = ("epoch", "loss", "active", "map", "p_at_1", "spread")


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="a name under `finetune` of params.yaml")
    name = parser.parse_args(arguments).name
    where = f"finetune.{name}"
    parameters = step_from(read_section(where), where, str(PARAMS_FILE))
    images, start = places.images(parameters.dataset), places.network(parameters.start)
    data = _training_set(parameters, images, start, where)
    made_of = (parameters.model_dump(), load_manifest(images, IMAGES).fingerprint, load_manifest(start, "network").fingerprint)
    store = ScratchStore(f"finetune-{name}", fingerprint(*made_of, code_fingerprint("stage", "contracts", "imaging", "networks", "finetuning")))
    with hold(choose_device()) as device:
        _reproducibly()
        network = TrainableNetwork.from_folder(start, device, parameters.precision)
        photographs = pack(images, data.image_ids, store.folder)
        log.info(
            "%s: %s from %s, %d photographs of %d instances on %s.",
            where,
            parameters.step,
            parameters.start,
            data.trained,
            len(data.classes),
            device,
        )
        try:
            step = STEP_CLASSES[parameters.step](parameters, network, data, photographs)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
        training = Training(name, parameters, step, Checkpoints(store.folder, settings().checkpoint_seconds))
        progressed = training.run()
    output, curve = places.network(name), places.training_curve(name)
    names = _write(store, network, parameters, data, progressed)
    write_csv(curve, CURVE, ({name: _shown(row[name]) for name in CURVE} for row in progressed.curve))
    store.publish(output, names, "network")
    return Produced((output, curve), training.trained_items, step.unit)


def _training_set(parameters: StepParameters, images: Path, start: Path, where: str) -> TrainingSet:
    rows = read_catalogue(images / places.CATALOGUE)
    data = TrainingSet.of(rows, parameters.role, parameters.validation_share, parameters.validation_seed, where)
    for earlier in read_json(start / CARD).get("trained_on", ()):
        if earlier["dataset"] == parameters.dataset:
            data.refuse_trained(earlier["instances"], where, parameters.start)
    return data


def _reproducibly() -> None:
    import torch

    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def _write(store: ScratchStore, network: TrainableNetwork, parameters: StepParameters, data: TrainingSet, progressed: Progressed) -> list[str]:
    """Weights, heads and card into the scratch store; returns their names."""
    names = [WEIGHTS]
    save_tensors(store.path(WEIGHTS), network.convolutions.state_dict())
    card: dict[str, Any] = dict(network.card) | {"labels": list(network.labels), "classes": len(network.labels)}
    card.pop("descriptor", None)
    card["projection"] = 0  # what it projects has changed
    if network.classifier is not None:
        save_tensors(store.path(CLASSIFIER), network.classifier.state_dict())
        names.append(CLASSIFIER)
    if network.head is not None:
        tensors, card["descriptor"] = network.head.state()
        save_tensors(store.path(DESCRIPTOR), tensors)
        names.append(DESCRIPTOR)
    source = ImageFacts.of(load_manifest(places.images(parameters.dataset), IMAGES)).source
    facts = {"dataset": parameters.dataset, "source": source, "role": parameters.role, "images": data.trained, "instances": list(data.classes)}
    training = {"step": parameters.step, "start": parameters.start, "validation": list(data.validation)} | summary(progressed)
    card["trained_on"] = [*card.get("trained_on", ()), facts | training]
    write_json(store.path(CARD), card)
    return [*names, CARD]


def _shown(value: float | None) -> object:
    return f"{value:.6f}" if isinstance(value, float) else value


if __name__ == "__main__":
    run_stage(main)
