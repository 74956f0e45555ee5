"""Images per second of each network on this machine's device: arithmetic alone, and the extract stage's work with decoding and writing.

Weights are real where a package ships them, else random, which takes as long. docs/scale.md is computed from these numbers.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.extraction import weights
from bench.pictures import store
from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.running.device import choose_device, prepare_processor
from pipeline.contracts.running.settings import settings
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.extraction.shards import ShardWriter
from pipeline.networks.registry import load_network

NETWORKS = ("squeezenet1_1", "efficientnet_lite0", "alexnet", "vgg16", "resnet101")
SECONDS = 3.0
"""That each measurement takes at least, after a first round that is not counted."""


def arithmetic(extractor: FeatureExtractor, side: int) -> float:
    """Images per second of pixels that are in memory."""
    size = extractor.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (size, side * 3 // 4, side, 3), np.uint8)
    plan = PlannedBatch(Path(), tuple(map(str, range(size))), side, side * 3 // 4)
    batch = LoadedBatch(plan, pixels)

    def once() -> None:
        with torch.inference_mode():
            for maps in extractor.maps(batch):
                maps.sum().item()

    once()
    rounds, start = 0, time.perf_counter()
    while rounds < 2 or time.perf_counter() - start < SECONDS:
        once()
        rounds += 1
    return rounds * size / (time.perf_counter() - start)


def whole(extractor: FeatureExtractor, images: Path, ids: list[str]) -> float:
    """Images per second from image shards to feature shards."""
    tasks = bucket_tasks(images, ["database"])
    rounds, start = -1, 0.0
    while rounds < 1 or time.perf_counter() - start < SECONDS:
        with tempfile.TemporaryDirectory() as place:
            writer = ShardWriter(extractor, Place(Path(place), str(extractor.device), settings().threads, untold), NOTHING, {})
            for task in tasks:
                writer.write(task)
        rounds += 1
        start = start or time.perf_counter()
    return rounds * len(ids) / (time.perf_counter() - start)


def row(network: str, side: int, device: torch.device, images: Path, ids: list[str]) -> list[str]:
    """Cells of the table."""
    extractors = [
        FeatureExtractor(load_network(network, weights(network)), ExtractParameters.model_validate({"precision": precision}), device)
        for precision in ("float32", "bfloat16")
    ]
    rates = [*(arithmetic(own, side) for own in extractors), *(whole(own, images, ids) for own in extractors)]
    return [network, str(side), *(f"{rate:.1f}" for rate in rates)]


def main() -> None:
    prepare_processor()
    device = choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{settings().threads} cores"
    count = 256 if device.type == "cuda" else 16
    print(f"Images per second on {name}: arithmetic in float32 and bfloat16, and with decoding and writing in both", flush=True)
    for side in (320, 1024):
        with tempfile.TemporaryDirectory() as place:
            ids = store(Path(place, "images"), count, side)
            for network in NETWORKS:
                try:
                    print(*row(network, side, device, Path(place, "images"), ids), sep="\t", flush=True)
                except ImportError as error:
                    print(f"{network}\tleft out: {error}", flush=True)


if __name__ == "__main__":
    main()
