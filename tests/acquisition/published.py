"""A published data set from a server on loopback, through the stages download and resize."""

from pathlib import Path

import pytest
import yaml

from pipeline.acquisition import __main__ as acquisition
from pipeline.acquisition.params import dataset_from
from pipeline.acquisition.registry import DATASETS
from pipeline.imaging import __main__ as imaging
from pipeline.stage.catalogue import CatalogueRow, GroundTruth, read_catalogue, read_ground_truth
from tests.loopback import LoopbackServer
from tests.pictures import encoded

RESIZE = {"rule": "longest_side", "pixels": 64, "minimum_side": 8}


def serve(server: LoopbackServer, source: str, contents: dict[str, bytes], **section: object) -> None:
    """Put contents where the data set's files are published; files not named get what stands under ''."""
    dataset = dataset_from({"source": source, **section}, "datasets.x", "params.yaml")
    for file in dataset.files():
        path = "/" + file.url.partition("://")[2]
        server.files[path] = contents.get(file.name, contents.get("", b""))


def run(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, source: str, tolerate: int | None = None, **section: object
) -> tuple[list[CatalogueRow], GroundTruth]:
    monkeypatch.setenv("RETRIEVAL_MIRROR", server.url)
    monkeypatch.setenv("RETRIEVAL_RETRIES", "1")
    monkeypatch.setenv("RETRIEVAL_RETRY_DELAY", "0")
    monkeypatch.setattr(DATASETS[source], "megabytes", None)
    (workplace / "params.yaml").write_text(
        yaml.safe_dump({"datasets": {"x": {"source": source, **section}}, "resize": {**RESIZE, "tolerate": tolerate}}), encoding="utf-8"
    )
    acquisition.main(["x"])
    imaging.main(["x"])
    images = Path("data/images/x")
    return read_catalogue(images / "catalogue.parquet"), read_ground_truth(images / "ground_truth.parquet")


def photos(*names: str) -> dict[str, bytes]:
    return {name: encoded(seed) for seed, name in enumerate(names)}
