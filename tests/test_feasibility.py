"""What would fail after hours of work is refused by `retrieval check` before any stage runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.stage.errors import ParameterError
from pipeline.whole import check_parameters
from tests.conftest import PROJECT
from tests.params_file import set_at


def check(folder: Path, changes: dict[str, Any]) -> None:
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        set_at(content, path, value)
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    check_parameters(folder / "params.yaml")


FILE = {"architecture": "vgg16", "weights": "file", "location": "gone.pth", "sha256": "0" * 64}

LEARNED = {"local_features": "disk"} | {name: {"location": "gone.pth", "sha256": "0" * 64} for name in ("detector", "matcher")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network.layers": ["block99"]}, "network.layers: layer 'block99' is unknown; there are: block0"),
        ({"aggregate.rmac.regional_dimensions": 1281}, "aggregate.rmac.regional_dimensions: 1281 of the 1280 channels .*; set it to 1280 at most"),
        ({"network.layers": ["block15"]}, "aggregate.rmac.regional_dimensions: 512 of the 320 channels"),
        (
            {"aggregate.rmac.whitening": "pca", "aggregate.rmac.dimensions": 513},
            "aggregate.rmac.dimensions: 513 of the 512 dimensions of the pooled vector",
        ),
        (
            {"aggregate.method": "mac", "aggregate.mac.whitening": "pca", "aggregate.mac.dimensions": 320},
            "benchmarks.gallery.held_out: 320 images of gallery give 319 components, aggregate.mac.dimensions is 320",
        ),
        ({"aggregate.method": "selective", "aggregate.selective.local_dimensions": 2000, "aggregate.selective.codebook": 2}, "2000 of the 1280"),
        ({"hash.method": "itq", "hash.itq.bits": 1024}, "hash.itq.bits: 1024 bits of descriptors with 512 dimensions; set fewer"),
        ({"benchmarks.gallery.held_out": "none"}, "benchmarks.gallery.held_out: none has no images, and aggregate.rmac learns from some"),
        (
            {"benchmarks.gallery.held_out": "none", "aggregate.method": "gem", "hash.method": "itq", "hash.itq.bits": 8},
            "none has no images, and hash learns from some",
        ),
        ({"networks.local": FILE}, "networks.local.location: gone.pth is not a file; set it, or RETRIEVAL_DATA"),
        (
            {"search.rerank.method": "spatial_verification", "search.rerank.spatial_verification": LEARNED},
            "search.rerank.spatial_verification.detector.location: gone.pth is not a file; set it, or RETRIEVAL_DATA",
        ),
        ({"datasets.a b": {"source": "none"}}, "datasets: 'a b' cannot be a name"),
        ({"datasets.2024": {"source": "none"}, "benchmarks.gallery.dataset": 2024}, "benchmarks.gallery.dataset: 2024 is no text; quote it: '2024'"),
    ],
)
def test_what_cannot_be_had_is_refused(workplace: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(workplace, changes)


def test_what_can_be_had_is_taken(workplace: Path) -> None:
    check(workplace, {"network.layers": ["block15"], "aggregate.rmac.regional_dimensions": 320})
    check(workplace, {"benchmarks.gallery.held_out": "none", "aggregate.method": "gem"})
    check(workplace, {"network.layers": ["block14", "block15"], "aggregate.rmac.regional_dimensions": 512})
    for dimensions in (512, 2000):  # a linear adaptation is not bound by the images, nor by the vector
        check(workplace, {"aggregate.method": "mac", "aggregate.mac.whitening": "adaptation", "aggregate.mac.dimensions": dimensions})
    check(workplace, {"search.rerank.spatial_verification": LEARNED})
    (workplace / "gone.pth").touch()
    check(workplace, {"search.rerank.method": "spatial_verification", "search.rerank.spatial_verification": LEARNED})
    check(workplace, {"networks.local": FILE})
