"""SALAD's head against plain loops of its equations, and read from a file as its authors publish it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml

from pipeline.aggregation.describers.registry import load_describer, new_describer
from pipeline.aggregation.params import METHODS, refuse_unreadable_features
from pipeline.contracts.features.feature_parameters import NetworkChoice
from pipeline.contracts.models import save_model
from pipeline.maps.stream import MapBatch
from pipeline.networks import __main__ as stage
from pipeline.networks.registry import load_from_folder
from pipeline.networks.salad_head import BACKBONE, HEAD, SALAD, SaladHead
from pipeline.networks.timm_layers import build
from pipeline.stage.errors import ModelError, ParameterError
from pipeline.stage.fingerprint import file_sha256
from pipeline.stage.tables import read_json

TRANSFORMER = "timm/test_vit"
CHANNELS, HIDDEN, CLUSTERS, CLUSTER_DIMENSIONS, TOKEN_DIMENSIONS = 64, 12, 5, 3, 4
Floats = npt.NDArray[np.float64]


def head_tensors(channels: int = CHANNELS, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    head = SaladHead(channels, HIDDEN, CLUSTERS, CLUSTER_DIMENSIONS, TOKEN_DIMENSIONS)
    return {name: torch.randn(value.shape, generator=draw) / 4 for name, value in head.state_dict().items()}


def plain_layers(tensors: dict[str, torch.Tensor], part: str, last: int, vector: Floats) -> Floats:
    weights = [tensors[f"{part}.{index}.{kind}"].double().numpy() for index in (0, last) for kind in ("weight", "bias")]
    hidden = np.maximum(weights[0].reshape(len(weights[0]), -1) @ vector + weights[1], 0)
    return np.asarray(weights[2].reshape(len(weights[2]), -1) @ hidden + weights[3])


def plain_salad(tensors: dict[str, torch.Tensor], maps: Floats, token: Floats, iterations: int) -> Floats:
    """Of one image: mass is moved by scaling rows and columns of exp(scores) in turn, without logarithms."""
    cells = [maps[:, y, x] for y in range(maps.shape[1]) for x in range(maps.shape[2])]
    mass = np.exp([[*plain_layers(tensors, "score", 3, cell), float(tensors["dust_bin"])] for cell in cells]).T
    wanted = np.array([1.0] * CLUSTERS + [len(cells) - CLUSTERS])
    for _ in range(iterations):
        mass = mass * (wanted / mass.sum(axis=1))[:, None]
        mass = mass / mass.sum(axis=0)
    features = [plain_layers(tensors, "cluster_features", 3, cell) for cell in cells]
    clusters = []
    for cluster in range(CLUSTERS):
        total = sum(mass[cluster, index] * feature for index, feature in enumerate(features))
        clusters.append(total / np.linalg.norm(total))
    scene = plain_layers(tensors, "token_features", 2, token)
    whole = np.concatenate([scene / np.linalg.norm(scene), np.array(clusters).T.ravel()])
    return np.asarray(whole / np.linalg.norm(whole))


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_descriptors_are_those_of_plain_loops(iterations: int) -> None:
    tensors = head_tensors(6)
    draw = torch.Generator().manual_seed(1)
    maps, tokens = torch.randn(2, 6, 3, 4, generator=draw), torch.randn(2, 6, generator=draw)
    described = SaladHead.from_state(tensors, {})(maps, tokens, iterations)
    expected = [plain_salad(tensors, own.double().numpy(), token.double().numpy(), iterations) for own, token in zip(maps, tokens, strict=True)]
    np.testing.assert_allclose(described.numpy(), expected, atol=1e-5)
    assert described.shape == (2, TOKEN_DIMENSIONS + CLUSTERS * CLUSTER_DIMENSIONS)


def test_every_patch_is_shared_out_and_every_cluster_takes_as_much_as_a_patch_has() -> None:
    head = SaladHead.from_state(head_tensors(6), {})
    shares = head.assigned(torch.randn(1, CLUSTERS, 12, generator=torch.Generator().manual_seed(2)), 200)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(1, CLUSTERS), atol=1e-4, rtol=1e-4)
    assert (shares.sum(dim=1) < 1).all(), "the dustbin has the rest"


def test_fewer_patches_than_clusters_are_refused() -> None:
    head = SaladHead.from_state(head_tensors(6), {})
    with pytest.raises(ModelError, match="shares patches among 5 clusters, and an image has only 4"):
        head(torch.zeros(1, 6, 2, 2), torch.zeros(1, 6))


def network_stage(workplace: Path, content: dict[str, torch.Tensor]) -> Path:
    """data/networks/net of a file that holds these tensors."""
    file = workplace / "salad.ckpt"
    torch.save(content, file)
    source = {"architecture": TRANSFORMER, "weights": "file", "location": str(file), "sha256": file_sha256(file), "trained_on": []}
    (workplace / "params.yaml").write_text(yaml.safe_dump({"networks": {"net": source}}), encoding="utf-8")
    stage.main(["net"])
    return Path("data/networks/net")


def published_file() -> dict[str, torch.Tensor]:
    """As `dino_salad.ckpt` names its tensors, with the mask token that DINOv2 has."""
    torch.manual_seed(0)
    own = build(TRANSFORMER).state_dict()
    backbone = {f"{BACKBONE}{name}": value for name, value in own.items()} | {f"{BACKBONE}mask_token": torch.zeros(1, CHANNELS)}
    return backbone | {f"{HEAD}{name}": value for name, value in head_tensors().items()}


def test_the_published_file_gives_a_network_and_its_head(workplace: Path, tmp_path: Path) -> None:
    content = published_file()
    folder = network_stage(workplace, content)
    assert read_json(folder / "network.json")["salad"] == TOKEN_DIMENSIONS + CLUSTERS * CLUSTER_DIMENSIONS
    network = load_from_folder(folder, ("class_token", "final"))
    model: Any = build(TRANSFORMER)
    model.load_state_dict({name.removeprefix(BACKBONE): value for name, value in content.items() if name.startswith(BACKBONE)}, strict=False)
    batch = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    with torch.inference_mode():
        tokens = model.forward_features(batch)
        maps = network.feature_maps(batch)
    describer = new_describer("salad", METHODS["salad"]())
    describer.adopt(folder, NetworkChoice(name="net", layers=("class_token", "final"), pooled=False))
    patches = tokens[:, 1:].mT.reshape(2, CHANNELS, 6, 4)
    expected = [plain_salad(head_tensors(), patches[index].double().numpy(), tokens[index, 0].double().numpy(), 3) for index in range(2)]
    np.testing.assert_allclose(describer.describe(MapBatch([maps])).numpy(), expected, atol=1e-4)
    assert describer.dimensions(2 * CHANNELS) == len(expected[0])
    save_model(tmp_path / "model", *describer.state())
    loaded, _ = load_describer(tmp_path / "model", torch.device("cpu"))
    assert torch.equal(loaded.describe(MapBatch([maps])), describer.describe(MapBatch([maps])))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss.weight": torch.zeros(1)}, r"expected backbone\.model\.\* and aggregator\.\* in a file of SALAD, got loss\.weight as well"),
        ({f"{HEAD}score.3.bias": torch.zeros(9)}, "the tensors are not those of a head of SALAD: .*score.3.bias"),
        ({f"{HEAD}{name}": value for name, value in head_tensors(32).items()}, "reads tokens of 32 channels, the network gives 64"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(workplace: Path, changes: dict[str, torch.Tensor], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        network_stage(workplace, published_file() | changes)


def test_weights_without_a_head_are_refused_and_so_are_other_layers(workplace: Path) -> None:
    folder = network_stage(workplace, dict(build(TRANSFORMER).state_dict()))
    assert not (folder / SALAD).exists()
    with pytest.raises(ModelError, match=r"aggregate\.salad: data/networks/net has no head of SALAD"):
        new_describer("salad", METHODS["salad"]()).adopt(folder, NetworkChoice(name="net", layers=(), pooled=False))
    with pytest.raises(ParameterError, match=r"aggregate\.salad reads \[class_token, final\], not \[final\]"):
        refuse_unreadable_features("salad", METHODS["salad"](), 0, ("final",))
