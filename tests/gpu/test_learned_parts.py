"""What is learned, and what comes with weights of its own, computes on an accelerator what it computes on a processor, up to rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.hashing.params import HASH_METHODS, HASHERS, HashParameters
from pipeline.hashing.registry import load_hasher, new_hasher
from pipeline.networks.salad_head import SaladHead
from pipeline.projections.adaptation import LinearAdaptation
from pipeline.reranking.learned_features import LearnedFeatures
from tests.devices import ON_GPU
from tests.networks.test_salad import head_tensors
from tests.pictures import pixels
from tests.projections.test_adaptation import TRAINING, held_out
from tests.reranking.test_learned_features import HEIGHT, WIDTH, models, parameters, published

pytestmark = list(ON_GPU)
CPU, GPU = torch.device("cpu"), torch.device("cuda")
BITS = 16


@pytest.mark.parametrize("method", sorted(HASHERS))
def test_binary_codes(method: str, tmp_path: Path) -> None:
    """Of a hash function that is learned elsewhere, but for bits that are decided by rounding; one learned on the card has codes as well."""
    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(600, BITS, generator=draw) * torch.linspace(2, 0.5, BITS)
    own = HASH_METHODS[method].model_validate({"bits": BITS})
    assert isinstance(own, HashParameters)
    hasher = new_hasher(method, own).fit(vectors)
    hasher.save(tmp_path, method=method, learned_on={"dataset": "held_out"})
    on_gpu = load_hasher(tmp_path, GPU).bits_of(vectors.to(GPU)).cpu()
    assert (on_gpu == hasher.bits_of(vectors)).double().mean() > 0.999
    learned = new_hasher(method, own).fit(vectors.to(GPU)).bits_of(vectors.to(GPU))
    assert learned.shape == (600, BITS)
    assert 0.2 < learned.double().mean() < 0.8


def test_linear_adaptation() -> None:
    rows, labels = held_out()
    expected, found = LinearAdaptation(TRAINING).fit(rows, labels), LinearAdaptation(TRAINING).fit(rows.to(GPU), labels)
    torch.testing.assert_close(found.transform(rows.to(GPU)).cpu(), expected.transform(rows), atol=1e-4, rtol=1e-4)


def test_salad() -> None:
    draw = torch.Generator().manual_seed(1)
    head, maps, tokens = SaladHead.from_state(head_tensors(6), {}), torch.randn(2, 6, 3, 4, generator=draw), torch.randn(2, 6, generator=draw)
    expected = head(maps, tokens, 3)
    torch.testing.assert_close(head.to(GPU)(maps.to(GPU), tokens.to(GPU), 3).cpu(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["xfeat", "aliked", "disk"])
def test_learned_local_features(kind: str, tmp_path: Path) -> None:
    """Key points and pairs, but for those that are chosen by rounding: weights are random, so that scores lie close together."""
    own = parameters(tmp_path, kind, published(kind, *models(kind)))
    on_gpu, on_processor = LearnedFeatures(own, GPU), LearnedFeatures(own, CPU)
    shown, other = (on_processor.key_points(pixels(index, WIDTH, HEIGHT)) for index in range(2))
    found = on_gpu.key_points(pixels(0, WIDTH, HEIGHT))
    apart = np.linalg.norm(found.places[:, None] - shown.places[None], axis=2)
    near = apart.min(axis=1) < 0.1
    assert near.mean() > 0.8
    np.testing.assert_allclose(found.descriptors[near], shown.descriptors[apart.argmin(axis=1)[near]], atol=1e-2)
    pairs, expected = ({tuple(pair) for pair in features.pairs(shown, other).tolist()} for features in (on_gpu, on_processor))
    assert len(pairs & expected) > 0.8 * max(len(pairs), len(expected))
    assert expected
