"""params.yaml: what is refused, and that the message says where and what is allowed."""

import re
from pathlib import Path

import pytest
import yaml

from pipeline.contracts.running.settings import settings
from pipeline.imaging.params import ResizeParameters
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import Section, load_section, read_section
from pipeline.whole import check_parameters
from tests.conftest import PROJECT
from tests.params_file import written


def test_the_projects_own_file_is_right() -> None:
    check_parameters(PROJECT / "params.yaml")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("resize.pixel", 3, "resize.pixel: unknown parameter; allowed: .*pixels"),
        ("resize.pixels", "big", "resize.pixels: input should be a valid integer, got 'big'"),
        ("resize.pixels", -1, "resize.pixels: input should be greater than or equal to 16, got -1"),
        ("resize.pixels", 3.5, "resize.pixels: input should be a valid integer"),
        ("resize.enlarge", "yes", "resize.enlarge: input should be a valid boolean"),
        ("resize.rule", "width", "resize.rule: .*'longest_side'.*got 'width'"),
        ("extract.scales", [0.5, 0.5], "extract.scales: expected distinct factors"),
        ("extract.scales", [], "extract.scales: expected distinct factors"),
        ("aggregate.method", "mcc", "aggregate.method: 'mcc' is unknown; allowed: mac, spoc"),
        ("aggregate.gem.power", 0.0, "aggregate.gem.power: input should be greater than 0"),
        ("aggregate.mac.dimensions", 8, "dimensions needs whitening"),
        ("aggregate.netvlad", {}, "aggregate.netvlad: unknown parameter; allowed: bag_of_words, class_scores"),
        ("aggregate.rmac", None, "aggregate: rmac is the method, and its section is missing"),
        ("serch", {}, "serch: unknown parameter; allowed: .*search"),
        ("datasets.gallery.source", "flickr", "datasets.gallery.source: 'flickr' is unknown; allowed: none, gallery"),
        ("datasets.gallery.instance", 3, "datasets.gallery.instance: unknown parameter; allowed: held_out, instances"),
        ("datasets.gallery", 7, "datasets.gallery"),
        ("networks.efficientnet_lite0.weights", "file", "file needs location and sha256"),
        ("networks.efficientnet_lite0.sha256", "xyz", "networks.efficientnet_lite0.sha256"),
        ("benchmarks.gallery.held_out", "paris", "benchmarks.gallery.held_out: 'paris' is not under `datasets`"),
        ("network.name", "vgg", "network.name: 'vgg' is not under `networks`"),
        ("aggregate.selective.mask", "mean", "aggregate.selective.mask: input should be 'max', 'sum', 'sift' or 'none'"),
        ("aggregate.selective.truncate", 640, "aggregate.selective: truncate 640 and dimensions None ask for more than the 640 embedded dimensions"),
        ("hash.method", "lsh", "hash.method: 'lsh' is unknown; allowed: none, itq, kmeans_hashing, binary_autoencoder"),
        ("hash.itq.bits", 100, "hash.itq.bits: codes are packed into bytes, so bits must be a multiple of 8, got 100"),
        ("hash.lsh", {}, "hash.lsh: unknown parameter; allowed: binary_autoencoder, itq"),
        ("hash.kmeans_hashing.subspace_bits", 7, "bits 512 is no multiple of subspace_bits 7"),
        ("mask_study", {"gallery": {"dataset": "gallery", "images": 0}}, "mask_study.gallery.images: input should be greater than or equal to 1"),
        ("mask_study", {"gallery": {}}, "mask_study.gallery.dataset: missing"),
        ("mask_study", {"gallery": {"dataset": "none"}}, "mask_study.gallery.dataset: 'none' is not that of the benchmark; set it to gallery"),
        ("region_study", {"museum": {"dataset": "gallery", "held_out": "gallery"}}, "region_study.museum: 'museum' is not under `benchmarks`"),
        ("finetune", {"a": {"step": "pruning"}}, "finetune.a.step: 'pruning' is unknown; allowed: classification, fully_convolutional"),
        (
            "finetune",
            {"a": {"step": "classification", "start": "x", "dataset": "gallery", "sid": 3}},
            "finetune.a.sid: unknown parameter; allowed: .*side",
        ),
        ("networks", {"efficientnet_lite0": {"members": [{"architecture": "vgg", "weights": "package"}]}}, "networks.efficientnet_lite0.members"),
        ("evaluate.precision_at", [0], "evaluate.precision_at: expected distinct numbers"),
    ],
)
def test_impossible_values_are_refused_by_path(tmp_path: Path, path: str, value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        check_parameters(written(tmp_path, {path: value}))
    assert "\n" not in str(caught.value)


def test_a_missing_section_says_what_there_is(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("search: {top_k: 1}\n", encoding="utf-8")
    with pytest.raises(ParameterError, match="resize is missing; there is: search"):
        load_section(ResizeParameters, "resize", file)
    with pytest.raises(ParameterError, match="not found"):
        read_section("resize", tmp_path / "none.yaml")
    file.write_text("a: [", encoding="utf-8")
    with pytest.raises(ParameterError, match="not valid YAML"):
        read_section("a", file)


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("a: 1e-05\nb: 1.0e-05\nc: 2E3\nd: 1e\ne: [3, 4.5, 1e2]\n", encoding="utf-8")
    assert read_section("", file) == {"a": 1e-5, "b": 1e-5, "c": 2000.0, "d": "1e", "e": [3, 4.5, 100.0]}


def test_settings_come_from_the_environment_and_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_WORKERS", "3")
    assert settings().threads == 3
    settings.cache_clear()
    monkeypatch.setenv("RETRIEVAL_DEVICE", "gpu")
    with pytest.raises(ParameterError, match="RETRIEVAL_DEVICE"):
        settings()


def test_names_that_dvc_does_not_see_cannot_be_parameters() -> None:
    with pytest.raises(TypeError, match=r"Codebook\.size: DVC's run cache does not see"):
        type("Codebook", (Section,), {"__annotations__": {"size": int}, "size": 8})


def followed_values() -> list[str]:
    """Values that dvc.yaml names one by one, and that could be left out of params.yaml if DVC knew their defaults."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    names = {name.replace("${key}", "gallery") for stage in stages.values() for name in stage.get("do", stage).get("params", [])}
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    singly = {"aggregate", "benchmarks", "hash", "network", "search"}
    assert {name.partition(".")[0] for name in names if "." in name} - singly == {name for name in content if name.endswith("_study")} | {
        "datasets",
        "finetune",
        "networks",
    }, "whole sections by name"
    return sorted(name for name in names if "$" not in name and "." in name and name.partition(".")[0] in singly)


@pytest.mark.parametrize("path", followed_values())
def test_values_that_dvc_follows_by_name_have_to_stand_in_the_file(path: str, tmp_path: Path) -> None:
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    *parents, last = path.split(".")
    section = content
    for key in parents:
        section = section[key]
    del section[last]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ParameterError, match=rf"{re.escape(path)}: "):
        check_parameters(file)
