"""Photographs that look the same: smaller, compressed again, cropped slightly; and that others do not."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.acquisition.gallery_pictures import BENCHMARK_PHOTOGRAPHS, HELD_OUT_PHOTOGRAPHS, pictures
from pipeline.imaging.looks import SIDE, Looks, as_looks, look_alikes, look_of


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Quarters of the pictures that packages ship."""
    return [Image.fromarray(picture) for picture in pictures((*BENCHMARK_PHOTOGRAPHS, *HELD_OUT_PHOTOGRAPHS)).values()]


def looks(images: list[Image.Image]) -> Looks:
    return as_looks([look_of(image) for image in images])


def compressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.convert("RGB").resize((image.width // 2, image.height // 2)).save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((image.width // 50, image.height // 33, image.width - image.width // 40, image.height - image.height // 66))


def test_copies_are_found_and_nothing_else(photographs: list[Image.Image]) -> None:
    own = looks(photographs)
    assert own.shape == (len(photographs), SIDE, SIDE)
    alike = {(pair.first, pair.second) for pair in look_alikes(own)}
    for change, share in ((compressed, 0.95), (cropped, 0.7)):  # cropped pictures of nothing but fine grain are lost, and flat ones
        found = {(pair.first, pair.second) for pair in look_alikes(own, looks([change(image) for image in photographs]))}
        right = {(place, place) for place in range(len(photographs))}
        assert len(found & right) >= share * len(photographs)
        assert {tuple(sorted(pair)) for pair in found - right} <= alike
    assert not alike


def test_flat_photographs_are_like_nothing() -> None:
    flat = np.full((2, SIDE, SIDE), 200, np.uint8)
    flat[1, 0, 0] = 199
    assert look_alikes(flat) == []
    assert look_alikes(flat, flat) == []


def test_pairs_are_the_same_from_both_sides(photographs: list[Image.Image]) -> None:
    own, others = looks(photographs[:20]), looks([cropped(image) for image in photographs[:20]])
    one = {(pair.first, pair.second): pair.correlation for pair in look_alikes(own, others)}
    other = {(pair.second, pair.first): pair.correlation for pair in look_alikes(others, own)}
    assert one == pytest.approx(other)
