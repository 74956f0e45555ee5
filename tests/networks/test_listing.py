"""The list of architectures says what their graphs say, and comes at once."""

import subprocess
import sys

import pytest

from pipeline.networks.listing import LISTING, WIDTH, computed, print_networks
from pipeline.networks.registry import ARCHITECTURES
from pipeline.stage.tables import read_json

LISTED = read_json(LISTING)


def test_every_architecture_is_listed_with_its_layers() -> None:
    assert {name: set(described["layers"]) for name, described in LISTED.items()} == {
        name: set(architecture.layers) for name, architecture in ARCHITECTURES.items()
    }


@pytest.mark.slow
def test_what_is_listed_is_what_the_graphs_say() -> None:
    """Of one network of each kind: the deeper ones are built from the same parts."""
    names = ["alexnet", "vgg16", "resnet50", "squeezenet1_1", "efficientnet_lite0"]
    assert computed(names) == {name: LISTED[name] for name in names}


def test_names_are_printed_uncut(capsys: pytest.CaptureFixture[str]) -> None:
    print_networks()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= WIDTH
    assert all(name in printed.split() for name in ARCHITECTURES)
    assert all(layer in printed for described in LISTED.values() for layer in described["layers"])


def test_the_command_loads_no_network() -> None:
    code = "import sys; from pipeline.networks.listing import print_networks; print_networks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0
