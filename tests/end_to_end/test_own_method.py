"""The examples of docs/own_method.md, taken from the page and added to a copy of the project: a pooling, a hash function and a network."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
import yaml

from pipeline.contracts.codes import read_code_folder
from pipeline.contracts.descriptors import read_folder
from pipeline.stage.tables import read_json
from tests.conftest import PROJECT
from tests.end_to_end.project import METHOD, Project

pytestmark = pytest.mark.slow

PAGE = (PROJECT / "docs/own_method.md").read_text(encoding="utf-8")


def block(after: str) -> str:
    """The first indented block of the page after a text."""
    rest = PAGE[PAGE.index(after) + len(after) :]
    found = re.search(r"\n\n((?:    .*\n|\n)+)", rest)
    assert found, after
    return dedent(found.group(1)).strip("\n") + "\n"


@pytest.fixture(scope="module")
def extended(museum: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("own") / "project", origin=museum)
    code = project.folder / "pipeline"
    for place, text in (
        ("aggregation/describers/top_mean.py", block("`pipeline/aggregation/describers/top_mean.py`:")),
        ("hashing/random_signs.py", block("`pipeline/hashing/random_signs.py`:")),
        ("networks/resnet18.py", block("`pipeline/networks/resnet18.py`:")),
    ):
        (code / place).write_text(text, encoding="utf-8")
    for place, text in (
        ("aggregation/params.py", block("At the end of `pipeline/aggregation/params.py`, or in its tables:")),
        ("hashing/params.py", block("At the end of `pipeline/hashing/params.py`:")),
    ):
        with (code / place).open("a", encoding="utf-8") as stream:
            stream.write("\n\n" + text)
    table = code / "networks/params.py"
    line = block("In the table `ARCHITECTURES` of `pipeline/networks/params.py`:")
    table.write_text(table.read_text(encoding="utf-8").replace("ARCHITECTURES = {\n", f"ARCHITECTURES = {{\n    {line}", 1), encoding="utf-8")
    return project


def python(project: Project, *arguments: str, **variables: str) -> str:
    environment = project.environment | {"PYTHONPATH": str(project.folder)} | variables
    done = subprocess.run([sys.executable, *arguments], cwd=project.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pooling_and_a_hash_function_run_through_all_stages(extended: Project) -> None:
    for name, value in yaml.safe_load(block("In `params.yaml`:"))["aggregate"].items():
        extended.change(f"aggregate.{name}", value)
    for name, value in yaml.safe_load(block('HASHERS["random_signs"] = "random_signs:RandomSigns"\n\nIn `params.yaml`:'))["hash"].items():
        extended.change(f"hash.{name}", value)
    assert {"learn@gallery", "aggregate@gallery", "hash@gallery", "search@gallery", "evaluate@gallery"} <= extended.affected()
    extended.make(*METHOD)
    metrics = read_json(extended.folder / "reports/metrics/gallery.json")
    assert (metrics["dimensions"], metrics["bits"]) == (1280, 64)
    ids, descriptors = next(read_folder(extended.folder / "data/descriptors/gallery", "database-"))
    _, codes = next(read_code_folder(extended.folder / "data/codes/gallery", "database-"))
    assert len(ids) == len(codes) == 10
    torch.testing.assert_close(torch.from_numpy(descriptors).norm(dim=1), torch.ones(10))


def test_an_architecture_is_listed_loaded_and_checked(extended: Project, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    torch.save(resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    digest = hashlib.sha256((tmp_path / "resnet18.pth").read_bytes()).hexdigest()
    listed = "import json; from pipeline.networks.listing import computed; print(json.dumps(computed(['resnet18'])))"
    assert json.loads(python(extended, "-c", listed))["resnet18"]["layer_channels"] == [64, 64, 64, 128, 256, 512]
    own = {"architecture": "resnet18", "weights": "file", "location": "resnet18.pth", "sha256": digest}
    extended.change("networks.resnet18", own)
    python(extended, "-m", "pipeline.networks", "resnet18", RETRIEVAL_DATA=str(tmp_path))
    card = read_json(extended.folder / "data/networks/resnet18/network.json")
    assert (card["channels"], card["classes"], card["stride"]) == (512, 1000, 32)
    assert yaml.safe_load(block("`retrieval networks` prints and `retrieval check` reads. In `params.yaml`:"))["networks"]["resnet18"]
