"""Training views: sizes, aspect, what a rotation and a mirror do, and that they follow from the seed."""

import numpy as np
import pytest
from PIL import Image

from pipeline.finetuning.augmentation import changed, limit_aspect, sided, squared
from pipeline.finetuning.params import AugmentationParameters
from pipeline.finetuning.step import View
from tests.pictures import pixels

NOTHING = AugmentationParameters(rotation=0.0, scale=0.0, shift=0.0, flip=0.0)


def picture(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(pixels(0, width, height))


def test_sizes() -> None:
    assert squared(picture(), 50).size == (50, 50)
    assert sided(picture(), 128).size == (192, 128)


@pytest.mark.parametrize(("size", "expected"), [((300, 100), (300, 150)), ((100, 301), (151, 301)), ((200, 100), (200, 100))])
def test_long_images_are_padded_with_noise(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 20, 30))
    padded = limit_aspect(image, 2.0, np.random.default_rng(0))
    assert padded.size == expected
    values = np.asarray(padded)
    inside = (values == (10, 20, 30)).all(axis=2)
    assert int(inside.sum()) >= size[0] * size[1]
    if size != expected:
        noise = values[~inside]
        assert 110 < noise.mean() < 145
        assert noise.std() > 60


def test_no_change_is_the_image() -> None:
    for fill in ("noise", "black"):
        same = changed(picture(), NOTHING.model_copy(update={"fill": fill}), np.random.default_rng(0))
        np.testing.assert_array_equal(np.asarray(same), np.asarray(picture()))


def test_mirror_is_the_mirror_image() -> None:
    mirrored = changed(picture(), NOTHING.model_copy(update={"flip": 1.0}), np.random.default_rng(0))
    np.testing.assert_allclose(np.asarray(mirrored, int), np.asarray(picture(), int)[:, ::-1], atol=1)


def test_changes_are_as_large_as_said() -> None:
    """A bright square's place and extent in many views, against the parameters."""
    values = np.zeros((101, 101, 3), np.uint8)
    values[40:61, 40:61] = 255
    image = Image.fromarray(values)

    def seen(parameters: AugmentationParameters) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        rows = []
        for seed in range(200):
            bright = np.asarray(changed(image, parameters.model_copy(update={"fill": "black"}), np.random.default_rng(seed)))[:, :, 0] > 127
            columns = np.flatnonzero(bright.any(axis=0))
            lines = np.flatnonzero(bright.any(axis=1))
            rows.append((columns.mean(), lines.mean(), np.ptp(columns) + 1, np.ptp(lines) + 1))
        return np.array(rows, float)

    scaled = seen(NOTHING.model_copy(update={"scale": 0.25}))
    assert 15 <= scaled[:, 2:].min() <= 17
    assert 25 <= scaled[:, 2:].max() <= 27
    assert abs(np.corrcoef(scaled[:, 2], scaled[:, 3])[0, 1]) < 0.3, "the axes are scaled independently"
    shifted = seen(NOTHING.model_copy(update={"shift": 0.2}))
    assert 66 <= shifted[:, :2].max() <= 71
    assert 29 <= shifted[:, :2].min() <= 34
    turned = seen(NOTHING.model_copy(update={"rotation": 180.0}))
    assert 28 <= turned[:, 2].max() <= 31, "the diagonal of the square"
    np.testing.assert_allclose(turned[:, :2], 50, atol=1)


def test_view_follows_from_its_fields() -> None:
    parameters = AugmentationParameters()
    first = changed(picture(), parameters, View(3, 0, (0, 1, 2)).random())
    again = changed(picture(), parameters, View(3, 0, (0, 1, 2)).random())
    others = [View(3, 1, (0, 1, 2)), View(4, 0, (0, 1, 2)), View(3, 0, (0, 2, 2)), View(3, 0, (1, 1, 2))]
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))
    for other in others:
        assert not np.array_equal(np.asarray(first), np.asarray(changed(picture(), parameters, other.random())))
