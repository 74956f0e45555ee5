"""Peak memory of extract, aggregate, search and evaluate at 1,000 and at 10,000 images: it should not grow with the collection."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from pipeline.acquisition.sources import truth_from_instances
from pipeline.contracts.images.image_shards import KIND, StoredImage, image_columns, image_writer
from pipeline.imaging.images import encode
from pipeline.stage.catalogue import CatalogueRow, write_catalogue, write_ground_truth
from pipeline.stage.manifest import Manifest, describe_parts
from pipeline.stage.tables import read_json

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, QUERIES, PER_INSTANCE, PER_SHARD = 128, 96, 50, 5, 128
PARAMS = {
    "benchmarks": {"x": {"dataset": "x", "held_out": "held", "distractors": "none", "allow_self_learning": False}},
    "networks": {"net": {"architecture": "efficientnet_lite0", "weights": "package"}},
    "network": {"name": "net"},
    "extract": {"shard_mib": 16},
    "aggregate": {"method": "rmac", "rmac": {"regional_whitening": "none"}},
    "hash": {"method": "none", "none": {}},
    "search": {"top_k": 100},
    "evaluate": {},
}


def _status(key: str) -> float:
    """A line of /proc/self/status in MiB (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def reset_peak() -> float:
    """Forget this process's peak; its memory now, in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak_since(before: float) -> float:
    """MiB above `before` that this process has held since `reset_peak`."""
    return _status("VmHWM") - before


def make(folder: Path, count: int, width: int = WIDTH, height: int = HEIGHT, prefix: str = "i") -> None:
    """Image shards, catalogue and ground truth of `count` noisy pictures; the first ones are queries."""
    from PIL import Image

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    rows: list[CatalogueRow] = []
    names: list[str] = []
    for first in range(0, count, PER_SHARD):
        names.append(f"part-{len(names):05d}.parquet")
        with image_writer(folder / names[-1]) as writer:
            for index in range(first, min(first + PER_SHARD, count)):
                coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), np.uint8)).resize((width, height))
                name, role = f"{prefix}{index:06d}", "query" if index < QUERIES else "database"
                rows.append(CatalogueRow(name, name, name, width, height, role, str(index % max(count // PER_INSTANCE, 1))))
                writer.write(image_columns([StoredImage(name, encode(coarse), width, height, 1.0)]))
    write_catalogue(folder / "catalogue.parquet", rows)
    write_ground_truth(folder / "ground_truth.parquet", truth_from_instances(rows))
    Manifest(KIND, describe_parts(folder, [*names, "catalogue.parquet", "ground_truth.parquet"])).save(folder)


def peak(place: Path, *command: str) -> float:
    """Run a stage; the peak memory in MiB that its record states, which leaves this process out."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=place, env=environment, stderr=subprocess.DEVNULL)
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed")
    newest = max(place.rglob("*.run.json"), key=lambda path: path.stat().st_mtime_ns)
    return float(read_json(newest)["peak_memory_bytes"]) / 2**20


def measure(count: int) -> dict[str, float]:
    """Peak memory by stage."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
        make(place / "data/images/x", count)
        make(place / "data/images/held", 20)
        make(place / "data/images/none", 0)
        peak(place, "pipeline.networks", "net")
        peaks = {"extract": peak(place, "pipeline.extraction", "x")}
        peak(place, "pipeline.extraction", "held")
        peak(place, "pipeline.aggregation.learn", "x")
        peaks["aggregate"] = peak(place, "pipeline.aggregation.aggregate", "x")
        peak(place, "pipeline.aggregation.distractors", "x")
        peak(place, "pipeline.hashing", "x")
        peaks["search"] = peak(place, "pipeline.search", "x")
        peaks["evaluate"] = peak(place, "pipeline.evaluation", "x")
        return peaks


def main() -> None:
    small, large = measure(1000), measure(10000)
    for stage, few in small.items():
        print(f"{stage}: {few:.0f} MiB at 1,000 images, {large[stage]:.0f} MiB at 10,000, ratio {large[stage] / few:.2f}")


if __name__ == "__main__":
    main()
