"""Bytes per image and reading speed of feature shards against one .npy file per image, on maps of real photographs."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from bench.extraction import weights
from bench.pictures import store
from bench.timing import paired
from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.features.feature_shards import read_features
from pipeline.contracts.running.device import prepare_processor
from pipeline.extraction.bucket_tasks import bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.shards import ShardWriter
from pipeline.networks.registry import load_network

COUNT, SIDE = 256, 512


def main() -> None:
    prepare_processor()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        store(folder / "images", COUNT, SIDE)
        extractor = FeatureExtractor(load_network("efficientnet_lite0", weights("efficientnet_lite0")), ExtractParameters(), torch.device("cpu"))
        writer = ShardWriter(extractor, Place(folder, "cpu", 2, untold), NOTHING, {})
        tasks = bucket_tasks(folder / "images", ["database"])
        shards = [folder / name for task in tasks for name in writer.write(task).files]
        singles = folder / "npy"
        singles.mkdir()
        for path in shards:
            for batch in read_features(path):
                for image_id, one in zip(batch.image_ids, batch.maps[0], strict=True):
                    np.save(singles / image_id, one)

        def read_shards() -> float:
            return sum(float(batch.maps[0].astype(np.float32).sum()) for path in shards for batch in read_features(path))

        def read_singles() -> float:
            return sum(float(np.load(path).astype(np.float32).sum()) for path in sorted(singles.iterdir()))

        ours, theirs = (sum(path.stat().st_size for path in paths) / COUNT for paths in (shards, list(singles.iterdir())))
        own, other = paired(read_shards, read_singles, rounds=5)
        print(f"shards: {ours / 1024:.0f} KiB per image in {len(shards)} files, {COUNT / own:.0f} images/s")
        print(f"one .npy per image: {theirs / 1024:.0f} KiB per image in {COUNT} files, {COUNT / other:.0f} images/s")
        print(f"ratio: {ours / theirs:.2f} of the bytes, {other / own:.2f} times the reading speed (warm cache)")


if __name__ == "__main__":
    main()
