"""What an accelerator computes is what a processor computes, up to rounding."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.aggregation.describers.registry import new_describer
from pipeline.aggregation.params import METHODS
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.running.device import prepare_processor
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.maps.fresh import fresh_maps
from pipeline.maps.stream import MapBatch
from pipeline.networks.network import Network
from pipeline.networks.params import is_timm
from pipeline.networks.registry import load_network
from pipeline.networks.timm_layers import TimmLayers, build, published
from pipeline.reranking.diffusion import diffusion_scores
from pipeline.reranking.k_reciprocal import k_reciprocal_scores
from pipeline.reranking.refined_descriptors import refined_scores
from pipeline.search.one_pass import search_and_count
from tests.devices import ON_GPU
from tests.networks.test_networks import random_weights
from tests.pictures import pixels

pytestmark = list(ON_GPU)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = 16
NETWORKS = ["squeezenet1_1", "resnet50", "timm/convnext_atto", "timm/vit_pwee_patch16_reg1_gap_256", "timm/swin_s3_tiny_224"]
OF_MAPS = sorted(METHODS.keys() - {"patches", "class_scores", "region_descriptor", "bag_of_words", "salad"})
SMALL: dict[str, dict[str, object]] = {
    "rmac": {"regional_dimensions": 4},
    "super_global": {"dimensions": 4},
    "selective": {"local_dimensions": 4, "codebook": 3, "truncate": 2, "floor": 3},
    "clusters": {"local_dimensions": 3, "feature_counts": [4], "colour_counts": []},
    "patches": {"levels": 2, "dimensions": 4},
}


def network(name: str) -> Network:
    """With random weights."""
    torch.manual_seed(0)
    return Network(TimmLayers(build(name)), ("final",), published(name).preprocessing) if is_timm(name) else load_network(name, random_weights(name))


@pytest.fixture(autouse=True)
def _prepared() -> None:
    """As every stage does, so that float32 is float32 on a card as well."""
    prepare_processor()


def shown() -> LoadedBatch:
    """More photographs than a descriptor in these tests has dimensions: no axis is left to rounding."""
    images = np.stack([pixels(index, 150, 133) for index in range(IMAGES)])
    return LoadedBatch(PlannedBatch(Path("s"), tuple(f"i{index}" for index in range(IMAGES)), 150, 133), images)


def maps_on(device: torch.device, name: str, **parameters: object) -> MapBatch:
    extractor = FeatureExtractor(network(name), ExtractParameters.model_validate(parameters), device)
    return fresh_maps(shown(), extractor, with_pictures=False)


def assert_alike(found: torch.Tensor, expected: torch.Tensor, share: float) -> None:
    """Up to a share of the largest value."""
    torch.testing.assert_close(found.cpu(), expected, atol=share * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-3), ("bfloat16", 0.1), ("float16", 0.05)])
def test_maps(name: str, precision: str, share: float) -> None:
    expected = maps_on(CPU, name, scales=[1.0, 0.7071])
    found = maps_on(GPU, name, scales=[1.0, 0.7071], precision=precision)
    for own, other in zip(found.scales, expected.scales, strict=True):
        assert_alike(own, other, share)


@pytest.mark.parametrize("way", ["response_maps", "crops"])
def test_patches(way: str) -> None:
    parameters = {"patch_levels": 2, "patch_sides": [96], "patch_way": way}
    assert_alike(maps_on(GPU, "squeezenet1_1", **parameters).scales[0], maps_on(CPU, "squeezenet1_1", **parameters).scales[0], 1e-3)


def clear_regions() -> MapBatch:
    """Maps of four quarters that differ: with maps of random weights, rounding decides which cells are a cluster."""
    draw = torch.Generator().manual_seed(0)
    quarters = 3 * torch.rand(IMAGES, 64, 2, 2, generator=draw)
    maps = quarters.repeat_interleave(6, dim=2).repeat_interleave(6, dim=3)
    return MapBatch([maps + 0.01 * torch.rand(maps.shape, generator=draw)])


@pytest.mark.parametrize("method", [*OF_MAPS, "patches"])
def test_descriptors(method: str) -> None:
    """Of one model, and of a model that is learned where it is applied."""
    patches = {"patch_levels": 2, "patch_sides": [96]} if method == "patches" else {}
    maps = clear_regions() if method == "clusters" else maps_on(CPU, "squeezenet1_1", **patches)
    describer = new_describer(method, METHODS[method].model_validate(SMALL.get(method, {})))
    on_gpu = MapBatch([scale.to(GPU) for scale in maps.scales], patches=maps.patches)
    with torch.inference_mode():
        describer.fit(partial(iter, [maps]))
        expected = describer.describe_each(maps)
        restored = new_describer(method, describer.parameters)
        restored.restore(*describer.state(), GPU)
        assert_alike(restored.describe_each(on_gpu), expected, 1e-3)
        learned = new_describer(method, describer.parameters)
        learned.fit(partial(iter, [on_gpu]))
        own = learned.describe_each(on_gpu).cpu()
    assert own.isfinite().all()
    assert own.shape == expected.shape
    torch.testing.assert_close(own.norm(dim=-1), expected.norm(dim=-1))


def test_search_and_counts() -> None:
    """Of whole numbers, whose products are exact in any order."""
    draw = np.random.default_rng(0)
    rows = draw.integers(-3, 4, (5000, 16)).astype(np.float32)
    ids = [f"i{index}" for index in range(len(rows))]
    labelled = [[ids[place] for place in draw.integers(0, 5000, 9)] for _ in range(8)]

    def blocks() -> list[tuple[list[str], np.ndarray[tuple[int, int], np.dtype[np.float32]]]]:
        return [(ids[first : first + 700], rows[first : first + 700]) for first in range(0, 5000, 700)]

    on_gpu, on_processor = (search_and_count(torch.from_numpy(rows[:8]).to(device), lambda: iter(blocks()), labelled, 50) for device in (GPU, CPU))
    assert on_gpu[0] == on_processor[0]
    for own, other in zip(vars(on_gpu[1]).values(), vars(on_processor[1]).values(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize("score", [diffusion_scores, k_reciprocal_scores, refined_scores])
def test_re_ranked_scores(score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    vectors = torch.randn(200, 32, generator=torch.Generator().manual_seed(0))
    vectors /= vectors.norm(dim=1, keepdim=True)
    assert_alike(score(vectors[0].to(GPU), vectors[1:].to(GPU)), score(vectors[0], vectors[1:]), 1e-3)
