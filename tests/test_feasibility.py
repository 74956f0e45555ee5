"""What would fail after hours of work is refused by `retrieval check` before any stage runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.demands import HIDDEN_LAYERS
from pipeline.networks.params import ARCHITECTURES
from pipeline.networks.registry import find_architecture
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

PACKAGED = {"architecture": "efficientnet_lite0", "weights": "package"}
VIT = {"architecture": "timm/vit_tiny_patch16_224", "weights": "timm", "sha256": "0" * 64}
SCORES = {"aggregate.method": "class_scores"}
SIFT = {"aggregate.selective.features": "sift", "aggregate.selective.mask": "none", "aggregate.selective.codebook": 2}
PATCHES = {"aggregate.method": "patches", "extract.patch_levels": 4, "extract.patch_sides": [192, 300], "resize.query_crop": "image"}
TOKEN = {"aggregate.method": "class_token", "network.layers": ["class_token"], "networks.efficientnet_lite0": VIT}

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
            {"aggregate.method": "mac", "aggregate.mac.whitening": "pca", "aggregate.mac.dimensions": 319, "benchmarks.gallery.kept_back": 0.0},
            "benchmarks.gallery.held_out: 320 images of gallery to learn on give 318 components, aggregate.mac.dimensions is 319; set it lower, or",
        ),
        (
            {"aggregate.method": "mac", "aggregate.mac.whitening": "pca", "aggregate.mac.dimensions": 259, "benchmarks.gallery.kept_back": 0.2},
            "260 images of gallery to learn on give 258 components",
        ),
        (
            {"aggregate.method": "mac", "aggregate.mac.whitening": "learned", "aggregate.mac.dimensions": 288, "benchmarks.gallery.kept_back": 0.0},
            "320 images of gallery to learn on give 287 components",
        ),
        ({"aggregate.method": "super_global", "aggregate.super_global.dimensions": 4096}, "super_global.dimensions: 4096 of the 1280 channels"),
        (
            {"aggregate.method": "super_global", "aggregate.super_global.dimensions": 256, "hash.method": "itq", "hash.itq.bits": 1024},
            "hash.itq.bits: 1024 bits of descriptors with 256 dimensions",
        ),
        ({"aggregate.method": "selective", **SIFT, "aggregate.selective.local_dimensions": 200}, "200 of the 128 values of a SIFT descriptor"),
        ({**PATCHES, "aggregate.patches.dimensions": 2561}, "2561 of the 2560 values of a patch"),
        (
            {**PATCHES, "aggregate.patches.whitening": "none", "aggregate.patches.code_bytes": 100},
            "code_bytes: 100 does not divide the 2560 dimensions of a patch",
        ),
        (
            {**SCORES, "network.layers": ["block5"]},
            r"network.layers: aggregate.class_scores reads maps of the network's last layer; set it to \[head\]",
        ),
        ({**SCORES, "network.pooled": True}, "and network.pooled to false"),
        ({**SCORES, "aggregate.class_scores.layer": "fc6"}, "efficientnet_lite0 has no 'fc6'; there are: scores"),
        (
            {**SCORES, "network.layers": [], "networks.efficientnet_lite0": VIT},
            "class_scores reads a classifier, and timm's networks are loaded without theirs",
        ),
        (
            {**SCORES, "network.layers": [], "networks.efficientnet_lite0": {"members": [PACKAGED, PACKAGED]}},
            "takes a part of one network over; efficientnet_lite0 has members",
        ),
        ({"aggregate.method": "region_descriptor"}, "network.name: aggregate.region_descriptor needs a step region_descriptor of `finetune`"),
        (
            {"aggregate.rmac.regional_whitening": "network", "aggregate.rmac.regional_dimensions": None},
            "aggregate.rmac.regional_whitening: the published weights of efficientnet_lite0 hold no projection; use pca_whitening",
        ),
        ({**TOKEN, "resize.query_crop": "activations"}, "resize.query_crop: aggregate.class_token has the same class token in every cell"),
        ({**TOKEN, "resize.query_crop": "image", "search.rerank.method": "localization"}, "search.rerank.method: aggregate.class_token has the same"),
        ({"aggregate.method": "selective", "aggregate.selective.local_dimensions": 2000, "aggregate.selective.codebook": 2}, "2000 of the 1280"),
        ({"hash.method": "itq", "hash.itq.bits": 1024}, "hash.itq.bits: 1024 bits of descriptors with 512 dimensions; set fewer"),
        ({"hash.method": "kmeans_hashing", "hash.kmeans_hashing.bits": 1024}, "1024 bits of descriptors with 512 dimensions"),
        (
            {"hash.method": "thresholding", "aggregate.method": "gem", "hash.thresholding.bits": 512},
            "hash.thresholding.bits: thresholding makes a bit of each of the 1280 dimensions; set it to 1280",
        ),
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
    for shrunk in ({"aggregate.gem.dimensions": 512, "aggregate.gem.shrinkage": 0.5}, {"aggregate.gem.dimensions": 258}):
        check(workplace, {"aggregate.method": "gem", "aggregate.gem.whitening": "pca_whitening", "benchmarks.gallery.kept_back": 0.2, **shrunk})
    check(workplace, {**PATCHES, "aggregate.patches.code_bytes": 100})  # of as many dimensions as the held-out set allows
    unsaid = {"aggregate.rmac.regional_dimensions": None, "hash.method": "thresholding", "hash.thresholding.bits": 288}
    check(workplace, unsaid)
    check(workplace, {**PATCHES, "aggregate.patches.dimensions": 2000, "aggregate.patches.code_bytes": 100})
    for dimensions in (512, 2000):  # a linear adaptation is not bound by the images, nor by the vector
        check(workplace, {"aggregate.method": "mac", "aggregate.mac.whitening": "adaptation", "aggregate.mac.dimensions": dimensions})
    check(workplace, {"search.rerank.spatial_verification": LEARNED})
    (workplace / "gone.pth").touch()
    check(workplace, {"search.rerank.method": "spatial_verification", "search.rerank.spatial_verification": LEARNED})
    check(workplace, {"networks.local": FILE})


def test_fully_connected_layers_are_those_of_the_architectures() -> None:
    classifiers = {name: find_architecture(name).classifier for name in ARCHITECTURES}
    assert {name: tuple(form.hidden) for name, form in classifiers.items() if form is not None and form.hidden} == HIDDEN_LAYERS
