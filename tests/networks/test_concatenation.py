"""Several networks as one: the members' maps side by side, each by its own input convention."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F

from pipeline.contracts.models import load_tensors, save_tensors
from pipeline.networks import __main__ as stage
from pipeline.networks.concatenation import ConcatenatedNetwork
from pipeline.networks.params import ConcatenatedSource, NetworkSource, network_from
from pipeline.networks.registry import load_from_folder, load_network
from pipeline.stage.errors import ModelError, ParameterError
from tests.loopback import LoopbackServer
from tests.networks.test_networks import random_weights

MEMBERS: list[dict[str, object]] = [
    {"architecture": "efficientnet_lite0", "weights": "package", "layers": ["block10", "head"]},
    {"architecture": "efficientnet_lite0", "weights": "package", "preprocessing": "torchvision"},
]


def test_maps_are_those_of_the_members_at_the_size_of_the_smallest() -> None:
    fine = load_network("squeezenet1_1", random_weights("squeezenet1_1"), ["fire5", "fire9"])
    coarse = load_network("efficientnet_lite0", random_weights("efficientnet_lite0"), ["block10"])
    both = ConcatenatedNetwork([fine, coarse])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 128, 3), np.uint8)
    maps = both.feature_maps(both.preprocess(pixels))
    own = [member.feature_maps(member.preprocess(pixels)) for member in (fine, coarse)]
    size = [min(item.shape[axis] for item in own) for axis in (2, 3)]
    expected = torch.cat([F.adaptive_max_pool2d(item, size) for item in own], dim=1)
    torch.testing.assert_close(maps, expected)
    assert both.parts == (256, 512, 112)
    assert both.channels == maps.shape[1]
    assert both.stride == 16
    assert both.receptive_field == max(fine.receptive_field or 0, coarse.receptive_field or 0)
    with pytest.raises(ModelError, match="need 6 input channels, got 3"):
        both.feature_maps(fine.preprocess(pixels))


@pytest.mark.slow
def test_the_stage_writes_every_member(workplace: Path) -> None:
    (workplace / "params.yaml").write_text(yaml.safe_dump({"networks": {"pair": {"members": MEMBERS}}}), encoding="utf-8")
    stage.main(["pair"])
    network = load_from_folder(Path("data/networks/pair"))
    assert isinstance(network, ConcatenatedNetwork)
    assert network.parts == (112, 1280, 1280)
    single = load_network("efficientnet_lite0", Path("data/networks/pair/weights-1.safetensors"), preprocessing="torchvision")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    torch.testing.assert_close(network.feature_maps(network.preprocess(pixels))[:, 1392:], single.feature_maps(single.preprocess(pixels)))
    with pytest.raises(ModelError, match="name layers for each of its members"):
        load_from_folder(Path("data/networks/pair"), ["head"])


def test_members_whose_files_have_one_name_keep_their_own_weights(workplace: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_MIRROR", server.url)
    members = []
    for name, change in (("one", 0.0), ("two", 1.0)):
        save_tensors(workplace / name, {key: value + change for key, value in random_weights("squeezenet1_1").items()})
        content = (workplace / name).read_bytes()
        server.files[f"/example.com/{name}/model.safetensors"] = content
        digest = hashlib.sha256(content).hexdigest()
        location = f"https://example.com/{name}/model.safetensors"
        members.append({"architecture": "squeezenet1_1", "weights": "url", "sha256": digest, "location": location})
    (workplace / "params.yaml").write_text(yaml.safe_dump({"networks": {"pair": {"members": members}}}), encoding="utf-8")
    stage.main(["pair"])
    first, second = (load_tensors(Path(f"data/networks/pair/weights-{index}.safetensors")) for index in (0, 1))
    assert all(torch.equal(first[key] + 1, second[key]) for key in first)


def test_members_are_validated_by_path() -> None:
    assert isinstance(network_from({"members": MEMBERS}, "networks.pair", "params.yaml"), ConcatenatedSource)
    assert isinstance(network_from(MEMBERS[1], "networks.one", "params.yaml"), NetworkSource)
    with pytest.raises(ParameterError, match=r"networks\.pair\.members\.1\.layer: unknown parameter; allowed: architecture, layers"):
        network_from({"members": [MEMBERS[0], MEMBERS[1] | {"layer": "head"}]}, "networks.pair", "params.yaml")
    with pytest.raises(ParameterError, match=r"networks\.pair\.members: .*at least 2 items"):
        network_from({"members": MEMBERS[:1]}, "networks.pair", "params.yaml")
    with pytest.raises(ParameterError, match=r"networks\.pair\.name: unknown parameter; allowed: members"):
        network_from({"members": MEMBERS, "name": "x"}, "networks.pair", "params.yaml")
