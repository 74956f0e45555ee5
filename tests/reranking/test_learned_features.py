"""Learned key points and LightGlue with random weights: what kornia's own calls give, from files in the layouts that are published."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.reranking.key_points import KeyPoints
from pipeline.reranking.learned_features import LearnedFeatures
from pipeline.reranking.learned_weights import copy_weights
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.reranking.spatial_verification import verify
from pipeline.stage.errors import ModelError, SourceError
from pipeline.stage.fingerprint import file_sha256
from tests.pictures import pixels

CPU = torch.device("cpu")
WIDTH, HEIGHT, MOST = 128, 96, 60


def models(kind: str) -> tuple[Any, Any]:
    """Kornia's own detector and matcher."""
    from kornia.feature import ALIKED, DISK, LightGlue, XFeat

    torch.manual_seed(0)
    detectors: dict[str, Any] = {
        "xfeat": lambda: XFeat(top_k=MOST),
        "aliked": lambda: ALIKED("aliked-n16", max_num_keypoints=MOST, detection_threshold=0.0),
        "disk": DISK,
    }
    configuration: dict[str, Any] = {**LightGlue.features[kind], "weights": None, "filter_threshold": 0.0}
    detector = detectors[kind]().eval()
    if kind == "xfeat":  # random weights leave every place below its threshold
        with torch.no_grad():
            detector.net.keypoint_head[-1].weight.mul_(60)
    return detector, LightGlue(None, **configuration).eval()  # type: ignore[arg-type]


def published(kind: str, detector: Any, matcher: Any) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Contents of the two files: XFeat's network alone, DISK's as its extractor; layers of LightGlue by their older names, XFeat's with a prefix."""
    own = (detector.net if kind == "xfeat" else detector).state_dict()
    older = {re.sub(r"^transformers\.(\d+)\.(self_attn|cross_attn)\.", r"\2.\1.", name): value for name, value in matcher.state_dict().items()}
    renamed = {f"matcher.{name}": value for name, value in older.items()} if kind == "xfeat" else older
    return ({"extractor": own} if kind == "disk" else own), renamed


def parameters(folder: Path, kind: str, contents: tuple[dict[str, Any], dict[str, torch.Tensor]]) -> SpatialVerificationParameters:
    files: dict[str, Any] = {}
    for name, content in zip(("detector", "matcher"), contents, strict=True):
        path = folder / f"{kind}_{name}.pth"
        torch.save(content, path)
        files[name] = {"location": str(path), "sha256": file_sha256(path)[:16]}
    return SpatialVerificationParameters.model_validate({"local_features": kind, "key_points": MOST, "score": 0.0, "inliers": 3, **files})


def as_tensor(picture: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def plainly(kind: str, detector: Any, picture: Any) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        if kind == "xfeat":
            found = detector.detectAndCompute(as_tensor(picture))[0]
            return found["keypoints"], found["descriptors"]
        found = detector(as_tensor(picture), n=MOST, pad_if_not_divisible=True)[0] if kind == "disk" else detector(as_tensor(picture))[0]
        return found.keypoints, found.descriptors


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xfeat", "aliked", "disk"])
def test_key_points_and_pairs_are_those_of_kornias_own_calls(tmp_path: Path, kind: str) -> None:
    detector, matcher = models(kind)
    features = LearnedFeatures(parameters(tmp_path, kind, published(kind, detector, matcher)), CPU)
    shown, other = pixels(0, WIDTH, HEIGHT), pixels(1, WIDTH, HEIGHT)
    found = [features.key_points(picture) for picture in (shown, other)]
    for picture, own in zip((shown, other), found, strict=True):
        places, descriptors = plainly(kind, detector, picture)
        assert 3 < len(own.places) <= MOST
        np.testing.assert_array_equal(own.places, places.numpy())
        np.testing.assert_array_equal(own.descriptors, descriptors.numpy())
        assert (own.width, own.height) == (WIDTH, HEIGHT)
    batches = [{"keypoints": torch.from_numpy(own.places)[None], "descriptors": torch.from_numpy(own.descriptors)[None]} for own in found]
    for batch in batches:
        batch["image_size"] = torch.tensor([[WIDTH, HEIGHT]])
    with torch.inference_mode():
        expected = matcher({"image0": batches[0], "image1": batches[1]})["matches"][0]
    pairs = features.pairs(*found)
    np.testing.assert_array_equal(pairs, expected.numpy())
    assert len(set(pairs[:, 1].tolist())) == len(pairs), "each of the image once"
    inside = features.key_points(shown, (20.4, 10.2, 99.5, 80.0))
    places, _ = plainly(kind, detector, shown[10:80, 20:100])
    np.testing.assert_allclose(inside.places, places.numpy() + np.array([20, 10]), atol=1e-4)


def test_images_without_key_points_verify_nothing(tmp_path: Path) -> None:
    own = parameters(tmp_path, "xfeat", published("xfeat", *models("xfeat")))
    features = LearnedFeatures(own, CPU)
    small, shown = features.key_points(pixels(0, 40, 20)), features.key_points(pixels(0, WIDTH, HEIGHT))
    assert len(small.places) == 0
    for one, other in ((small, shown), (shown, small)):
        assert verify(features, one, other, own).inliers == 0
    assert features.pairs(KeyPoints(small.places, small.descriptors, 40, 20), shown).shape == (0, 2)


def test_a_collection_has_copies_of_the_weights(tmp_path: Path) -> None:
    own = parameters(tmp_path, "xfeat", published("xfeat", *models("xfeat")))
    before = LearnedFeatures(own, CPU).key_points(pixels(0, WIDTH, HEIGHT))
    assert len(before.places) > 3
    copy_weights(own, tmp_path / "copies")
    for path in tmp_path.glob("*.pth"):
        path.unlink()
    np.testing.assert_array_equal(LearnedFeatures(own, CPU, tmp_path / "copies").key_points(pixels(0, WIDTH, HEIGHT)).places, before.places)
    with pytest.raises(SourceError, match=r"spatial_verification\.detector: .*xfeat_detector\.pth is not a file; set `location`, or RETRIEVAL_DATA"):
        LearnedFeatures(own, CPU)
    (tmp_path / "copies/detector.pth").write_bytes(b"other")
    with pytest.raises(SourceError, match=r"spatial_verification\.detector: detector\.pth: sha256 is"):
        LearnedFeatures(own, CPU, tmp_path / "copies")


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    detector, matcher = published("xfeat", *models("xfeat"))
    with pytest.raises(ModelError, match=r"xfeat_detector\.pth: not the weights of XFeatModel, for example "):
        LearnedFeatures(parameters(tmp_path, "xfeat", (matcher, matcher)), CPU)
    with pytest.raises(ModelError, match=r"xfeat_matcher\.pth: not the weights of LightGlue, for example input_proj\.weight"):
        LearnedFeatures(parameters(tmp_path, "xfeat", (detector, {name: value for name, value in matcher.items() if "input_proj" not in name})), CPU)


FILE = {"location": "x.pth", "sha256": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"local_features": "xfeat"}, "local_features xfeat needs detector and matcher, each with location and sha256"),
        ({"local_features": "aliked", "detector": FILE}, "local_features aliked needs detector and matcher"),
        ({"detector": FILE, "matcher": FILE}, "sift has no weights; set detector and matcher to null"),
        ({"local_features": "surf"}, "local_features"),
        ({"local_features": "disk", "detector": FILE | {"sha256": "123"}, "matcher": FILE}, "sha256"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SpatialVerificationParameters.model_validate(values)
