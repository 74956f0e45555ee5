"""The describer of paper 3 from map to descriptor, against loops; what it learns from, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.describers.selective_features import SelectiveFeatures
from pipeline.aggregation.params import SelectiveParameters
from pipeline.contracts.features.feature_shards import FeatureBatch, feature_columns, feature_writer
from pipeline.contracts.images.cells import Grid
from pipeline.contracts.models import save_model
from pipeline.maps.pictures import Picture
from pipeline.maps.stream import MapBatch, stream_maps
from pipeline.stage.errors import ModelError, SanityError
from pipeline.stage.manifest import Manifest, describe_parts
from tests.aggregation import reference
from tests.aggregation.reference import Floats

SMALL = {"local_dimensions": 4, "codebook": 3, "truncate": 2}
PLAIN = {"vlad": reference.vlad, "triangulation": reference.triangulation, "function_approximation": reference.function_approximation}


def maps(seed: int, count: int = 6, size: tuple[int, int] = (5, 6)) -> torch.Tensor:
    return torch.relu(torch.randn(count, 9, *size, generator=torch.Generator().manual_seed(seed)))


def held_out() -> Iterator[MapBatch]:
    return iter([MapBatch([maps(seed, size=(5 + seed % 2, 6))]) for seed in range(20)])


def fitted(**parameters: Any) -> SelectiveFeatures:
    describer = SelectiveFeatures("selective", SelectiveParameters.model_validate(SMALL | parameters))
    describer.fit(held_out)
    return describer


def plain_features(feature_map: Floats, mask: str) -> Floats:
    _, height, width = feature_map.shape
    everywhere = {(y, x) for y in range(height) for x in range(width)}
    kept = {"max": reference.max_mask, "sum": reference.sum_mask}[mask](feature_map) if mask != "none" else everywhere
    return np.array([feature_map[:, y, x] for y, x in sorted(kept)])


def plain_descriptors(describer: SelectiveFeatures, images: torch.Tensor, mask: str, embedding: str, how: str) -> Floats:
    """Everything from the maps anew, but the codebook, which is the describer's."""
    learning = [plain_features(image, mask) for batch in held_out() for image in batch.scales[0].double().numpy()]
    mean, axes, _ = reference.principal_axes(np.concatenate(learning), 4)

    def reduced(features: Floats) -> Floats:
        return np.array([reference.unit(axes @ (feature - mean)) for feature in features])

    model = describer.models["embedding"]
    if embedding == "fisher":
        book = [values.double().numpy() for values in (model.codebook_.weights, model.codebook_.means, model.codebook_.variances)]
        raw = {id(each): np.array([reference.fisher(x, *book) for x in reduced(each)]) for each in learning}
    else:
        centroids = model.codebook_.double().numpy()
        raw = {id(each): np.array([PLAIN[embedding](x, centroids) for x in reduced(each)]) for each in learning}
    centre, matrix = np.zeros(1), np.eye(next(iter(raw.values())).shape[1])
    if embedding in ("triangulation", "function_approximation"):
        centre, matrix = reference.floored_whitening(np.concatenate(list(raw.values())), 5)

    def pooled(features: Floats) -> Floats:
        if embedding == "fisher":
            embedded = np.array([reference.fisher(x, *book) for x in reduced(features)])
        else:
            embedded = np.array([PLAIN[embedding](x, centroids) for x in reduced(features)])
        return reference.unit(reference.aggregate((embedded - centre) @ matrix.T, how))

    own = np.array([pooled(plain_features(image, mask)) for image in images.double().numpy()])
    return reference.post_process(own, np.array([pooled(each) for each in learning]), 2, 0.5, "rotate_first")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask", "embedding", "how"),
    [
        ("max", "triangulation", "democratic"),
        ("sum", "triangulation", "sum"),
        ("none", "function_approximation", "generalized_max"),
        ("max", "function_approximation", "democratic"),
        ("sum", "vlad", "average"),
        ("max", "fisher", "max"),
        ("none", "fisher", "democratic"),
    ],
)
def test_descriptors_are_those_of_the_loops(mask: str, embedding: str, how: str) -> None:
    floor = 5 if embedding in ("triangulation", "function_approximation") else None
    describer = fitted(mask=mask, embedding=embedding, aggregation=how, floor=floor, restarts=1)
    images = maps(100, 4)
    found = describer.describe(MapBatch([images]))
    np.testing.assert_allclose(found.numpy(), plain_descriptors(describer, images, mask, embedding, how), atol=1e-3)
    assert found.shape[1] == describer.dimensions(9) == describer.parameters.embedded_dimensions - 2


def test_a_saved_describer_describes_the_same(tmp_path: Path) -> None:
    for embedding in ("fisher", "vlad", "triangulation", "function_approximation"):
        describer = fitted(embedding=embedding, floor=5 if embedding in ("triangulation", "function_approximation") else None, restarts=1)
        save_model(tmp_path / embedding, *describer.state())
        loaded, card = load_describer(tmp_path / embedding, torch.device("cpu"))
        assert torch.equal(loaded.describe(MapBatch([maps(50)])), describer.describe(MapBatch([maps(50)])))
        assert card["models"]["embedding"]["count"] > 500


def test_the_batch_an_image_is_in_does_not_matter() -> None:
    describer = fitted(floor=5)
    images = maps(60, 8)
    images[3] = 0
    together = describer.describe(MapBatch([images]))
    alone = torch.cat([describer.describe(MapBatch([image[None]])) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not together[3].any()


def test_learning_takes_a_bounded_number_of_local_features() -> None:
    describer = fitted(floor=5, learning_features=300)
    assert describer.state()[1]["models"]["embedding"]["count"] == 300
    again = fitted(floor=5, learning_features=300)
    assert torch.equal(describer.models["embedding"].codebook_, again.models["embedding"].codebook_)


def test_a_held_out_set_without_activation_is_refused() -> None:
    describer = SelectiveFeatures("selective", SelectiveParameters.model_validate(SMALL))
    with pytest.raises(ModelError, match="no activation anywhere"):
        describer.fit(lambda: iter([MapBatch([torch.zeros(4, 9, 3, 3)])]))
    with pytest.raises(ModelError, match="no activation anywhere"):
        describer.fit(lambda: iter([]))


def test_dead_channels_are_left_to_the_components_that_remain() -> None:
    def batches() -> Iterator[MapBatch]:
        return (MapBatch([torch.cat([batch.scales[0][:, :6], torch.zeros_like(batch.scales[0][:, 6:])], dim=1)]) for batch in held_out())

    describer = SelectiveFeatures("selective", SelectiveParameters.model_validate(SMALL | {"floor": 5}))
    describer.fit(batches)
    assert torch.isfinite(describer.describe(next(batches()))).all()
    wide = SelectiveFeatures("selective", SelectiveParameters.model_validate(SMALL | {"floor": 5, "local_dimensions": 8}))
    with pytest.raises(ModelError, match=r"8 components are wanted.*give only 5"):
        wide.fit(batches)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"embedding": "vlad", "floor": 5}, "floor belongs to triangulation and function_approximation"),
        ({"truncate": 640}, "truncate 640 and dimensions None ask for more than the 640 embedded dimensions"),
        ({"dimensions": 600}, "truncate 128 and dimensions 600"),
        ({"floor": 641}, "floor 641 is more than the 640"),
    ],
)
def test_impossible_parameters_are_refused(parameters: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SelectiveParameters.model_validate(parameters)


def test_a_map_that_is_not_finite_is_named(tmp_path: Path) -> None:
    broken = maps(0, 2).numpy().copy()
    broken[1, 4, 2, 2] = np.nan
    with feature_writer(tmp_path / "part-00000.parquet", "float32") as writer:
        writer.write(feature_columns(FeatureBatch(["fine", "broken"], 64, 64, [broken], [1.0], Grid.even(32.0)), "float32"))
    Manifest("feature maps", describe_parts(tmp_path, ["part-00000.parquet"])).save(tmp_path)
    with pytest.raises(SanityError, match="feature map of broken is not finite"):
        list(stream_maps(tmp_path, {"fine", "broken"}, torch.device("cpu")))
    assert len(list(stream_maps(tmp_path, {"fine"}, torch.device("cpu")))) == 1


def textured(seed: int) -> Picture:
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    return Picture(cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).astype(np.uint8), grid=Grid.even(40.0))


def test_local_features_may_be_root_sift_descriptors() -> None:
    shown = [textured(seed) for seed in range(8)]
    empty = torch.zeros(8, 2, 3, 4)

    def stream() -> Iterator[MapBatch]:
        return iter([MapBatch([empty[:5]], shown[:5], [Grid.even(40.0)]), MapBatch([empty[5:]], shown[5:], [Grid.even(40.0)])])

    section = {"features": "sift", "mask": "none", "key_points": 40, "local_dimensions": 6, "codebook": 3, "embedding": "vlad"}
    describer = SelectiveFeatures("selective", SelectiveParameters.model_validate(section))
    assert describer.parameters.needs_pictures
    describer.fit(stream)
    plain = []
    for picture in shown:
        found = cv2.SIFT.create(40).detectAndCompute(cv2.cvtColor(picture.pixels, cv2.COLOR_RGB2GRAY), None)[1]
        plain.append(np.array([[np.sqrt(value / row.sum()) for value in row] for row in found]))
    features, counts = describer.local(empty, shown)
    assert counts == [len(own) for own in plain]
    np.testing.assert_allclose(features.numpy(), np.concatenate(plain), atol=1e-5)
    mean, axes, _ = reference.principal_axes(np.concatenate(plain), 6)
    reduced = np.array([reference.unit(axes @ (feature - mean)) for feature in np.concatenate(plain)])
    np.testing.assert_allclose(describer.reduce(features).numpy(), reduced, atol=1e-3)
    blank = Picture(np.full((120, 160, 3), 90, np.uint8), grid=Grid.even(40.0))
    vectors = describer.describe(MapBatch([empty[:2]], [shown[0], blank], [Grid.even(40.0)]))
    assert float(vectors[0].norm()) == pytest.approx(1, abs=1e-5)
    assert describer.local(empty[:1], [blank])[1] == [0]
    with pytest.raises(ValidationError, match="mask max selects features of maps; set it to none with features: sift"):
        SelectiveParameters.model_validate({"features": "sift"})
