"""Training sets of published weights: what cards say of them, what is refused, and what is known to overlap with which benchmark."""

from typing import Any

import pytest

from pipeline.acquisition.registry import DATASETS
from pipeline.networks.overlaps import known_overlaps
from pipeline.networks.params import NetworkSource
from pipeline.networks.timm_layers import TAGS, published
from pipeline.networks.training_sets import learned_from, trained_on, training_sets
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import validate
from tests.conftest import PROJECT


def test_what_sets_show_are_data_sets_and_somebody_told_so() -> None:
    for name, found in training_sets().items():
        assert set(found.shows) <= set(DATASETS), name
        assert found.title
        assert found.reason
        assert found.told_by or not found.shows, name
    assert set(TAGS.values()) <= set(training_sets())


def test_every_set_stands_in_the_docs() -> None:
    text = (PROJECT / "docs/networks.md").read_text(encoding="utf-8")
    assert [name for name in training_sets() if f"| `{name}` |" not in text] == []


def test_landmarks_of_google_overlap_with_oxford_and_paris_and_with_no_other() -> None:
    (found,) = known_overlaps(["imagenet-1k", "gldv2-clean", "own/postcards"], "roxford5k")
    assert found.warning == (
        "the network is trained on gldv2-clean (Google Landmarks v2, cleaned train set, 1.6 million images), which is not apart from roxford5k: "
        "it holds photographs of landmarks that the queries show (Song et al., On Train-Test Class Overlap and Detection for Image Retrieval, "
        "CVPR 2024); results flatter it"
    )
    assert known_overlaps(["gldv2-clean"], "holidays") == known_overlaps(["rgldv2-clean", "sfm-120k"], "rparis6k") == []


def test_a_card_of_several_networks_names_the_sets_of_all() -> None:
    one, other = ({"weights": {"trained_on": names}} for names in (["imagenet-1k"], ["gldv2", "imagenet-1k"]))
    assert trained_on(one) == ("imagenet-1k",)
    assert trained_on({"members": [one, other]}) == ("imagenet-1k", "gldv2")


@pytest.mark.parametrize(("source", "role", "expected"), [("google_landmarks", "held_out", ("gldv2-clean",)), ("google_landmarks", "database", ())])
def test_steps_of_training_name_the_sets_of_their_photographs(source: str, role: str, expected: tuple[str, ...]) -> None:
    card = {"weights": {"trained_on": ["imagenet-1k"]}, "trained_on": [{"source": source, "role": role}]}
    assert trained_on(card) == ("imagenet-1k", *expected)
    found = known_overlaps(learned_from(source, role), "roxford5k", "method")
    assert [each.warning.partition(" (")[0] for each in found] == [f"the method is trained on {name}" for name in expected]


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("timm/vit_small_patch14_reg4_dinov2", ("lvd-142m",)),
        ("timm/vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", ("laion-2b", "imagenet-21k", "imagenet-1k")),
        ("timm/vit_base_patch16_siglip_224.v2_webli", ("webli",)),
        ("timm/resnet18.fb_swsl_ig1b_ft_in1k", ("imagenet-1k",)),
    ],
)
def test_timms_tags_name_training_sets(architecture: str, expected: tuple[str, ...]) -> None:
    assert published(architecture).trained_on == expected


@pytest.mark.parametrize(("names", "wrong"), [(["gldv2_clean"], "gldv2_clean: not a listed"), (["own/"], "own/: not a listed")])
def test_other_names_are_refused(names: list[str], wrong: str) -> None:
    section: dict[str, Any] = {"architecture": "vgg16", "weights": "torchvision", "trained_on": names}
    with pytest.raises(ParameterError, match=rf"net\.trained_on.*{wrong} training set; allowed: imagenet-1k, .*or own/NAME"):
        validate(NetworkSource, section, "networks.net", "params.yaml")
    assert validate(NetworkSource, section | {"trained_on": ["own/mine"]}, "networks.net", "params.yaml").trained_on == ("own/mine",)
