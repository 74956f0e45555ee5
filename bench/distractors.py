"""Peak memory of the stages from distractor image to metrics, with selective features and 512-bit codes: it should not grow with their number."""

import sys
import tempfile
from pathlib import Path

import yaml

from bench.memory import QUERIES, make, peak

FEW, MANY = 5_000, 100_000
WIDTH, HEIGHT, DATABASE, HELD_OUT = 64, 48, 200, 600
PARAMS = {
    "networks": {"net": {"architecture": "efficientnet_lite0", "weights": "package"}},
    "network": {"name": "net", "layers": ["block10"]},
    "extract": {},
    "aggregate": {"method": "selective", "selective": {"restarts": 1}},
    "hash": {"method": "itq", "itq": {"bits": 512}},
    "search": {"top_k": 100},
    "evaluate": {},
    "benchmarks": {"x": {"dataset": "x", "held_out": "held", "distractors": "mixed_in", "allow_self_learning": False}},
}


def measure(count: int) -> dict[str, float]:
    """Peak memory in MiB by stage with `count` distractors."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
        make(place / "data/images/x", DATABASE, WIDTH, HEIGHT)
        make(place / "data/images/held", HELD_OUT, WIDTH, HEIGHT)
        make(place / "data/images/mixed_in", count + QUERIES, WIDTH, HEIGHT, "mixed")  # queries are not mixed in
        peak(place, "pipeline.networks", "net")
        for dataset in ("x", "held"):
            peak(place, "pipeline.extraction", dataset)
        peaks = {"learn": peak(place, "pipeline.aggregation.learn", "x")}
        peak(place, "pipeline.aggregation.aggregate", "x")
        peaks["aggregate_distractors"] = peak(place, "pipeline.aggregation.distractors", "x")
        peaks["hash"] = peak(place, "pipeline.hashing", "x")
        peaks["search"] = peak(place, "pipeline.search", "x")
        peaks["evaluate"] = peak(place, "pipeline.evaluation", "x")
        return peaks


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    small, large = measure(FEW), measure(many)
    for stage, few in small.items():
        print(f"{stage}: {few:.0f} MiB with {FEW} distractors, {large[stage]:.0f} MiB with {many}, ratio {large[stage] / few:.2f}")


if __name__ == "__main__":
    main()
