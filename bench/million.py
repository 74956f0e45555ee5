"""A million photographs on this machine: small ones made by a program, as distractors of the embedded museum, through every stage.

    python -m bench.million                                   2,000 and 10,000 of them
    python -m bench.million FOLDER 10000 100000 1000000       all of them: hours

Each size takes the same museum with its own queries, and as many distractors as it says: raw buckets, resized images, descriptors in one pass
without maps on disk, codes, exact search and evaluation. FOLDER keeps what is finished: a run that was stopped goes on. The store is off, so that
every image is computed. Times, rates and peak memory are those that the stages record; processor time is that of the processes of a stage that
this run made. The last lines say how they grow.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bench.timing import processor_seconds
from pipeline.acquisition.packing import KIND, Packed, PackedDataset
from pipeline.acquisition.sources import DatasetParameters
from pipeline.stage.catalogue import CatalogueRow, GroundTruth
from pipeline.stage.manifest import Manifest, describe_parts
from pipeline.stage.run_record import record_path
from pipeline.stage.tables import read_json
from tests.params_file import written

ROOT = Path(__file__).resolve().parent.parent
SIDE, COARSE = 64, 6
BATCH = 16
"""Images of this size that a processor takes together: one at a time, calls cost more than arithmetic."""
STAGES = (
    ("resize", "pipeline.imaging", "many", "images/many"),
    ("distractors", "pipeline.aggregation.distractors", "gallery", "distractors/gallery"),
    ("hash", "pipeline.hashing", "gallery", "codes/gallery"),
    ("search", "pipeline.search", "gallery", "rankings/gallery"),
)
"""What grows with the distractors: the stage, its module, what it is run for, and its output."""
BEFORE = (
    ("pipeline.acquisition", "gallery", "raw/gallery"),
    ("pipeline.imaging", "gallery", "images/gallery"),
    ("pipeline.networks", "efficientnet_lite0", "networks/efficientnet_lite0"),
    ("pipeline.extraction", "gallery", "features/gallery"),
    ("pipeline.aggregation.learn", "gallery", "models/gallery"),
    ("pipeline.aggregation.aggregate", "gallery", "descriptors/gallery"),
)
CHANGES: dict[str, object] = {
    "datasets.many": {"source": "folder", "path": "many"},
    "benchmarks.gallery.distractors": "many",
    "resize.pixels": SIDE,
    "aggregate.method": "gem",
    "aggregate.gem": {"power": 3.0, "whitening": "pca_whitening", "dimensions": 128, "shrinkage": 0.0},
    "hash.method": "itq",
    "hash.itq.bits": 128,
}


class ManyPictures(PackedDataset):
    """Distinct pictures of SIDE×SIDE pixels: coloured clouds and noise, drawn by the number of each."""

    title = "pictures made by a program"

    def __init__(self, count: int) -> None:
        super().__init__(DatasetParameters(source="folder"))
        self.count = count

    def paths(self) -> Iterator[str]:
        return (f"distractor/{number:07d}.jpg" for number in range(self.count))

    def packed(self, paths: list[str]) -> Iterator[Packed]:
        for path in paths:
            record = {"id": path, "path": path, "instance": "", "role": "distractor", "box": ""}
            yield path, picture(int(path[-11:-4])), [record]

    def ground_truth(self, raw: Path, rows: list[CatalogueRow]) -> GroundTruth:
        raise NotImplementedError("nothing is asked of these")


def picture(number: int) -> bytes:
    """A JPEG."""
    import cv2

    draw = np.random.default_rng(number)
    clouds = cv2.resize(draw.integers(0, 256, (COARSE, COARSE, 3), np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = draw.integers(-20, 21, (SIDE, SIDE, 1), np.int16)
    pixels = np.clip(clouds.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


def prepare(folder: Path, images: int, changes: Mapping[str, object] = MappingProxyType({})) -> None:
    """params.yaml, with further changes, and the raw buckets of the distractors."""
    folder.mkdir(parents=True, exist_ok=True)
    written(folder, {**CHANGES, **changes})
    raw = folder / "data/raw/many"
    if not (raw / "manifest.json").exists():
        raw.mkdir(parents=True, exist_ok=True)
        Manifest(KIND, describe_parts(raw, ManyPictures(images).make(raw))).save(raw)


def run(folder: Path, module: str, name: str, output: str) -> None:
    """A stage in a process of its own, unless its output is there."""
    if record_path(folder / "data" / output).exists():
        return
    environment = os.environ | {"RETRIEVAL_STORE_GIB": "0", "RETRIEVAL_BATCH_SIZE": str(BATCH), "PYTHONPATH": str(ROOT)}
    before = processor_seconds()
    subprocess.run([sys.executable, "-m", module, name], cwd=folder, env=environment, check=True)
    print(f"{output}\t{processor_seconds() - before:.1f} s of processor time", flush=True)


def measured(folder: Path, images: int) -> dict[str, tuple[float, float]]:
    """(seconds, peak MiB) of each stage that grows."""
    prepare(folder, images)
    for module, name, output in BEFORE:
        run(folder, module, name, output)
    found = {}
    for stage, module, name, output in STAGES:
        run(folder, module, name, output)
        record = read_json(record_path(folder / "data" / output))
        found[stage] = record["seconds"], record["peak_memory_bytes"] / 2**20
        size = sum(path.stat().st_size for path in (folder / "data" / output).iterdir()) / 2**20
        print(
            f"{images}\t{stage}\t{found[stage][0]:.1f} s\t{images / found[stage][0]:.0f} images/s\t{found[stage][1]:.0f} MiB\t{size:.0f} MiB written",
            flush=True,
        )
    run(folder, "pipeline.evaluation", "gallery", "../reports/provenance/gallery.json")
    metrics = read_json(folder / "reports/metrics/gallery.json")
    for name in ("database", "with_distractors"):
        print(f"{images}\t{name}\tmAP {metrics[name]['map']:.4f}\tP@1 {metrics[name]['precision_at_1']:.4f}", flush=True)
    return found


def main() -> None:
    sizes = [int(size) for size in sys.argv[2:]] or [2_000, 10_000]
    with tempfile.TemporaryDirectory(prefix="million-") as place:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(place)
        found = [measured(folder / str(size), size) for size in sizes]
    for stage, *_ in STAGES:
        for (less, before), (more, after) in zip(zip(sizes, found, strict=True), zip(sizes[1:], found[1:], strict=True), strict=False):
            each = 1000 * (after[stage][0] - before[stage][0]) / (more - less)
            print(f"{stage}: from {less} to {more} images {each:.3f} ms per image, peak memory {after[stage][1] - before[stage][1]:+.0f} MiB")


if __name__ == "__main__":
    main()
