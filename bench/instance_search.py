"""Time and peak memory of training and of one photograph's description by system; writes reports/instance_search.csv (paper 4, tables 5.1, 5.2)."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import yaml

from pipeline.stage.tables import read_json
from pipeline.stage.text_tables import write_csv

OUTPUT = Path("reports/instance_search.csv")
PROJECT = Path(__file__).resolve().parent.parent
GALLERY = {"source": "gallery", "instances": 20, "references": 4, "queries": 2, "held_out": 10}
COMMON = {"dataset": "gallery", "validation_share": 0.0, "epochs": 1}
STEPS = {
    "classified": COMMON | {"step": "classification", "start": "efficientnet_lite0"},
    "convolutional": COMMON | {"step": "fully_convolutional", "start": "classified", "sides": [288, 224]},
    "siamese": COMMON | {"step": "region_descriptor", "start": "classified", "side": 288, "regions": None, "dimensions": 32, "learning_rate": 1e-5},
    "regions": COMMON | {"step": "region_descriptor", "start": "convolutional", "side": 288, "dimensions": 32, "learning_rate": 1e-5},
}
MIB = 2**20


@dataclass(frozen=True)
class System:
    """Attributes:
    trained: the steps of training that it takes, one epoch each.
    """

    name: str
    network: str
    method: str
    trained: tuple[str, ...] = ()


SYSTEMS = (
    System("SIFT bag of words", "efficientnet_lite0", "bag_of_words"),
    System("ImageNet class scores", "efficientnet_lite0", "class_scores"),
    System("classification", "classified", "spoc", ("classified",)),
    System("fully convolutional", "convolutional", "spoc", ("classified", "convolutional")),
    System("simplified siamese", "siamese", "region_descriptor", ("classified", "siamese")),
    System("region descriptor", "regions", "region_descriptor", ("classified", "convolutional", "regions")),
)


def run(folder: Path, module: str, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-m", module, *arguments], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)


def prepare(folder: Path) -> None:
    """A gallery, a network and every step of training."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["datasets"]["gallery"], params["finetune"] = GALLERY, STEPS
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    run(folder, "pipeline.acquisition", "gallery")
    run(folder, "pipeline.imaging", "gallery")
    run(folder, "pipeline.networks", "efficientnet_lite0")
    for name in STEPS:
        run(folder, "pipeline.finetuning", name)


def training(folder: Path, system: System) -> tuple[float, float, float]:
    """Seconds, and peak memory in MiB of the processor and of the accelerator, of the steps that a system takes."""
    records = [read_json(folder / "data/networks" / f"{name}.run.json") for name in system.trained]
    peaks = [max((record[key] for record in records), default=0) / MIB for key in ("peak_memory_bytes", "peak_gpu_bytes")]
    return sum(record["seconds"] for record in records), peaks[0], peaks[1]


def testing(folder: Path, network: str, method: str) -> tuple[float, float, float]:
    """Seconds for one photograph, from pixels to descriptor, and the peaks; call it in a fresh process."""
    import resource

    import torch

    from pipeline.aggregation.describers.registry import new_describer
    from pipeline.aggregation.params import METHODS
    from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
    from pipeline.contracts.running.device import choose_device, hold
    from pipeline.extraction.inference import FeatureExtractor
    from pipeline.extraction.loading import load_batches
    from pipeline.extraction.planning import plan_batches
    from pipeline.maps.fresh import fresh_maps
    from pipeline.networks.registry import load_from_folder
    from pipeline.stage.catalogue import read_catalogue

    images, weights = folder / "data/images/gallery", folder / "data/networks" / network
    with hold(choose_device()) as device, torch.inference_mode():
        extractor = FeatureExtractor(load_from_folder(weights), ExtractParameters(), device)
        parameters = METHODS[method](**({"words": 200} if method == "bag_of_words" else {}))
        describer = new_describer(method, parameters)
        describer.adopt(weights, NetworkChoice(name=network))
        describer.restore(*describer.state(), device)
        wanted = {row.image_id for row in read_catalogue(images / "catalogue.parquet") if row.role == "held_out"}
        loaded = list(load_batches(plan_batches(images, wanted), 1))
        photographs = [type(batch)(batch.plan, batch.pixels[:1]) for batch in loaded]
        if describer.parameters.learns:
            describer.fit(lambda: (fresh_maps(batch, extractor, describer.parameters.needs_pictures) for batch in loaded))
        taken = []
        for batch in photographs * 3:
            began = time.perf_counter()
            describer.describe(fresh_maps(batch, extractor, describer.parameters.needs_pictures))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - began)
        accelerator = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else 0.0
    return statistics.median(taken), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, accelerator


def measure(folder: Path) -> list[dict[str, str]]:
    rows, described = [], []
    for system in SYSTEMS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, memory, accelerator = pool.submit(testing, folder, system.network, system.method).result()
        trained, training_memory, training_accelerator = training(folder, system)
        described.append(seconds)
        rows.append(
            {
                "system": system.name,
                "training of one epoch per step, s": f"{trained:.1f}",
                "training, MiB": f"{training_memory:.0f}",
                "training, GPU MiB": f"{training_accelerator:.0f}",
                "test per image, s": f"{seconds:.4f}",
                "test, MiB": f"{memory:.0f}",
                "test, GPU MiB": f"{accelerator:.0f}",
            }
        )
    reference = described[[system.name for system in SYSTEMS].index("ImageNet class scores")]
    return [row | {"test / class scores": f"{seconds / reference:.2f}"} for row, seconds in zip(rows, described, strict=True)]


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place))
        rows = measure(Path(place))
    write_csv(OUTPUT, list(rows[0]), rows)
    for row in rows:
        print(" · ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
