"""Decoding, orientation, resizing rules and query crops."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.acquisition.sources import Photograph
from pipeline.contracts.images.cells import Part
from pipeline.imaging.images import crop_box, decode, encode, extend_box, load_image, resize, target_size
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.pixel_budget import PixelBudget
from pipeline.imaging.preparation import prepare
from pipeline.stage.errors import ImageError, ParameterError
from pipeline.stage.parameters import validate
from tests.pictures import encoded, pixels


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture() -> Image.Image:
    return Image.fromarray(pixels(0))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_photographs_stand_upright_in_every_format(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    turned = {1: 0, 3: 180, 6: 90, 8: -90}[orientation]
    data = saved(picture().rotate(turned, expand=True), format, exif=exif)
    row, image = prepare(Photograph("a", "a", data), ResizeParameters(rule="longest_side", pixels=48, minimum_side=4))
    assert image is not None
    assert (row.width, row.height, image.width, image.height) == (96, 64, 48, 32)
    difference = np.asarray(decode(image.bytes), np.float64) - np.asarray(resize(picture(), 48, 32), np.float64)
    assert abs(difference).mean() < 6


@pytest.mark.parametrize(
    "data",
    [
        encoded(0, format="PNG"),
        encoded(0, format="BMP"),
        encoded(0, format="WEBP", lossless=True),
        encoded(0, format="TIFF"),
        saved(picture().convert("RGBA"), "PNG"),
    ],
    ids=["png", "bmp", "webp", "tiff", "opaque alpha"],
)
def test_lossless_formats_give_the_pixels(data: bytes) -> None:
    np.testing.assert_array_equal(np.asarray(load_image(data)), pixels(0))


@pytest.mark.parametrize(
    "data",
    [saved(picture().convert("CMYK"), "JPEG", quality=95), saved(picture(), "GIF"), saved(picture().convert("P"), "PNG")],
    ids=["cmyk jpeg", "gif", "palette"],
)
def test_other_colour_spaces_come_close(data: bytes) -> None:
    image = load_image(data)
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image, int) - pixels(0)).mean() < 25


def test_alpha_lies_over_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (np.asarray(load_image(saved(image, "PNG"))) == 255).all()


def test_sixteen_bits_are_scaled_to_eight() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    image = np.asarray(load_image(saved(Image.fromarray(ramp.astype(np.uint16)), "TIFF")))
    np.testing.assert_allclose(image[..., 0], ramp / 257, atol=1)


def test_the_first_frame_of_an_animation_counts() -> None:
    first, second = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    assert np.asarray(load_image(saved(first, "GIF", save_all=True, append_images=[second]))).min() == 255


def test_exif_is_honoured_once_and_only_where_it_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the pixels are to be rotated by 90° clockwise
    data = saved(picture(), "JPEG", exif=exif)
    assert load_image(data).size == (64, 96)
    assert load_image(data, exif=False).size == (96, 64)
    assert "exif" not in load_image(data).info or load_image(data).getexif().get(0x0112, 1) == 1


def test_rotation_is_clockwise() -> None:
    turned = np.asarray(load_image(encoded(0, format="PNG"), rotation=90))
    np.testing.assert_array_equal(turned, np.rot90(pixels(0), -1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text", "not an image that can be decoded"),
        (encoded(0)[:-400], "truncated"),
        (encoded(0)[:200], "."),
    ],
)
def test_broken_files_say_why(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(data)


@pytest.mark.parametrize(
    ("rule", "size", "enlarge", "expected"),
    [
        ("longest_side", 50, False, (50, 25)),
        ("longest_side", 200, False, (100, 50)),
        ("longest_side", 200, True, (200, 100)),
        ("shortest_side", 20, False, (40, 20)),
        ("area", 50, False, (71, 35)),
        ("square", 50, False, (50, 50)),
        ("none", 50, True, (100, 50)),
    ],
)
def test_resizing_rules(rule: str, size: int, enlarge: bool, expected: tuple[int, int]) -> None:
    assert target_size(100, 50, rule, size, enlarge) == expected


def test_no_side_vanishes() -> None:
    assert target_size(30000, 20, "longest_side", 640, False) == (640, 1)


def test_resizing_is_antialiased() -> None:
    board = Image.fromarray((np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    small = np.asarray(resize(board, 32, 32), int)
    assert np.abs(small - 127).max() < 30


def test_boxes_are_clipped_and_empty_ones_refused() -> None:
    image = picture()
    assert crop_box(image, (-5, 10.2, 30.5, 1000)).size == (31, 54)
    with pytest.raises(ImageError, match="outside the image of 96×64"):
        crop_box(image, (200, 0, 300, 10))
    assert extend_box((10, 10, 20, 20), 15, 96, 64) == (0, 0, 35, 35)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_stored_images(encoding: str) -> None:
    data = encode(picture(), encoding)
    assert data == encode(picture(), encoding)
    difference = np.abs(decode(data).astype(int) - pixels(0))
    assert difference.max() == 0 if encoding == "png" else difference.mean() < 2


def query(box: tuple[float, float, float, float] | None, role: str = "query") -> Photograph:
    return Photograph("q", "q.png", encoded(0, format="PNG"), role, box=box)


def test_query_crops_follow_the_named_convention() -> None:
    box = (8.0, 16.0, 40.0, 48.0)
    size = {"rule": "longest_side", "pixels": 48, "minimum_side": 4}
    sizes = {}
    for crop in ("image", "image_own_size", "activations", "none"):
        row, image = prepare(query(box), ResizeParameters.model_validate({**size, "query_crop": crop}))
        assert row.readable, row.status
        assert image is not None
        sizes[crop] = (image.width, image.height, image.part)
    assert sizes == {
        "image": (16, 16, None),
        "image_own_size": (32, 32, None),
        "activations": (48, 32, Part((4.0, 8.0, 20.0, 24.0))),
        "none": (48, 32, None),
    }


def test_a_cropped_query_shows_what_is_in_its_box() -> None:
    _, image = prepare(query((8.0, 16.0, 40.0, 48.0)), ResizeParameters(rule="none", minimum_side=4))
    assert image is not None
    np.testing.assert_array_equal(decode(image.bytes), pixels(0)[16:48, 8:40])


def test_context_widens_the_box_by_pixels_of_the_resized_image() -> None:
    parameters = ResizeParameters(pixels=48, minimum_side=4, query_context=5.0)
    _, image = prepare(query((20.0, 20.0, 40.0, 40.0)), parameters)
    assert image is not None
    assert (image.width, image.height) == (20, 20)
    assert image.part == Part((5.0, 5.0, 15.0, 15.0), centred=True)


@pytest.mark.parametrize("small", ["pad", "scale"])
def test_context_at_the_edge_of_a_small_image_keeps_the_box_in_its_place(small: Any) -> None:
    parameters = ResizeParameters(pixels=48, minimum_side=40, query_context=5.0, small=small)
    _, image = prepare(query((0.0, 20.0, 20.0, 40.0)), parameters)
    assert image is not None
    factor = 1.0 if small == "pad" else 40 / 30
    left, top = ((40 - 15) // 2, (40 - 20) // 2) if small == "pad" else (0, 0)
    corners = (0.0, 10.0, 20.0, 30.0) if small == "scale" else (0.0, 5.0, 10.0, 15.0)
    expected = [factor * corner + shift for corner, shift in zip(corners, (left, top, left, top), strict=True)]
    assert image.part is not None
    assert image.part.centred
    assert image.part.box == pytest.approx(expected)


@pytest.mark.parametrize("crop", ["activations", "none"])
def test_context_of_what_is_not_cropped_is_refused(crop: str) -> None:
    with pytest.raises(ParameterError, match=f"resize: .*query_context surrounds crops of pixels; set it to 0 with query_crop {crop}"):
        validate(ResizeParameters, {"query_crop": crop, "query_context": 3.0}, "resize")


@pytest.mark.parametrize(("rule", "enlarge"), [("area", True), ("area", False), ("longest_side", True), ("shortest_side", True)])
def test_context_of_a_crop_of_its_own_size_is_measured_after_resizing(rule: str, enlarge: bool) -> None:
    photograph = Photograph("q", "q", encoded(0, 900, 700, "PNG"), "query", box=(300.0, 250.0, 460.0, 350.0))
    section = {"rule": rule, "pixels": 240, "enlarge": enlarge, "query_crop": "image_own_size", "query_context": 40.0}
    row, image = prepare(photograph, ResizeParameters.model_validate(section))
    assert row.readable
    assert image is not None
    factor = image.scale
    assert image.width == pytest.approx(160 * factor + 80, abs=2)
    assert image.height == pytest.approx(100 * factor + 80, abs=2)
    if enlarge:
        measure = {"area": (image.width * image.height) ** 0.5, "longest_side": max(image.width, image.height)}
        assert measure.get(rule, min(image.width, image.height)) == pytest.approx(240, abs=2)
    assert factor <= 1 or enlarge


def test_a_context_as_large_as_the_target_is_refused() -> None:
    photograph = Photograph("q", "q", encoded(0, 900, 700, "PNG"), "query", box=(300.0, 250.0, 460.0, 350.0))
    section = {"rule": "area", "pixels": 200, "query_crop": "image_own_size", "query_context": 100.0}
    row, image = prepare(photograph, ResizeParameters.model_validate(section))
    assert image is None
    assert "leaves nothing of 200 pixels; lower resize.query_context" in row.status


@pytest.mark.parametrize(
    ("crop", "context"), [("image", 0.0), ("image", 10.0), ("image_own_size", 0.0), ("image_own_size", 10.0), ("activations", 0.0)]
)
@pytest.mark.parametrize("box", [(20.0, 20.0, 20.0, 40.0), (20.0, 40.0, 40.0, 40.0), (30.0, 20.0, 20.0, 40.0)])
def test_an_empty_box_is_refused_whatever_its_context(context: float, crop: str, box: tuple[float, float, float, float]) -> None:
    parameters = ResizeParameters.model_validate({"pixels": 48, "minimum_side": 4, "query_crop": crop, "query_context": context})
    row, image = prepare(query(box), parameters)
    assert image is None
    assert row.status.endswith("is empty")


def test_only_queries_are_cropped() -> None:
    _, image = prepare(query((8.0, 16.0, 40.0, 48.0), role="database"), ResizeParameters(rule="none"))
    assert image is not None
    assert (image.width, image.height) == (96, 64)


@pytest.mark.parametrize(
    ("photograph", "reason"),
    [
        (Photograph("a", "a", b""), "the file is empty"),
        (Photograph("a", "a", encoded(0, 3000, 20)), r"640×4 pixels after resizing, resize\.minimum_side is 32"),
        (query((500.0, 500.0, 600.0, 600.0)), "outside the image"),
    ],
)
def test_what_cannot_be_used_becomes_a_row_that_says_why(photograph: Photograph, reason: str) -> None:
    row, image = prepare(photograph, ResizeParameters(pixels=640, small="refuse"))
    assert image is None
    assert row.status.startswith("unreadable: ")
    import re

    assert re.search(reason, row.status)


def test_squares_give_up_the_aspect_ratio_also_of_crops_and_boxes() -> None:
    with pytest.raises(ParameterError, match="query_context has no measure in squares"):
        validate(ResizeParameters, {"rule": "square", "query_context": 3.0}, "resize")
    for crop, box in (("image", None), ("image_own_size", None), ("activations", (16.0, 0.0, 32.0, 32.0)), ("none", None)):
        photograph = Photograph("q", "q.png", encoded(0, 120, 60, "PNG"), "query", box=(30.0, 0.0, 60.0, 30.0))
        _, stored = prepare(photograph, ResizeParameters(rule="square", pixels=64, query_crop=crop))  # type: ignore[arg-type]
        assert stored is not None
        assert (stored.width, stored.height) == (64, 64)
        assert (stored.part and stored.part.box) == box


@pytest.mark.parametrize(("small", "size"), [("pad", (640, 32)), ("scale", (4800, 32))])
def test_small_images_are_padded_or_enlarged(small: Any, size: tuple[int, int]) -> None:
    strip = Image.fromarray(np.repeat(np.arange(0, 20, dtype=np.uint8)[:, None, None] * 10, 3000, axis=1).repeat(3, axis=2))
    row, image = prepare(Photograph("a", "a", saved(strip, "PNG")), ResizeParameters(pixels=640, small=small))
    assert image is not None
    assert (row.width, row.height, row.status) == (3000, 20, "ok")
    assert (image.width, image.height) == size
    pixels = decode(image.bytes)
    assert pixels.shape == (32, size[0], 3)
    if small == "pad":
        assert (pixels[:14] == pixels[14]).all(), "the border is repeated"


def test_floating_point_samples_are_scaled_by_their_range() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    expected = np.arange(256).reshape(16, 16)
    for factor in (1, 255, 65535):
        image = np.asarray(load_image(saved(Image.fromarray(ramp * np.float32(factor)), "TIFF")))[..., 0]
        np.testing.assert_allclose(image, expected, atol=1)
    np.testing.assert_allclose(np.asarray(load_image(saved(Image.fromarray(ramp * 6 - 3), "TIFF")))[..., 0], expected, atol=1)
    for broken in (np.nan, np.inf):
        samples = ramp.copy()
        samples[3, 3] = broken
        with pytest.raises(ImageError, match="samples that are no finite numbers"):
            load_image(saved(Image.fromarray(samples), "TIFF"))


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    row, image = prepare(Photograph("a", "a", encoded(0, 300, 200)), ResizeParameters(pixels=64, largest_pixels=59_999))
    assert image is None
    assert row.status == "unreadable: 300×200 pixels, resize.largest_pixels is 59999"


def test_a_huge_jpeg_is_decoded_smaller_and_keeps_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = Photograph("a", "a", encoded(0, 640, 480))
    full, plain = prepare(photograph, ResizeParameters(pixels=64))
    monkeypatch.setattr("pipeline.imaging.preparation.REDUCED_FROM", 1000)
    row, image = prepare(photograph, ResizeParameters(pixels=64))
    assert plain is not None
    assert image is not None
    assert row == full
    assert (image.width, image.height, image.scale) == (plain.width, plain.height, plain.scale)
    assert np.abs(decode(image.bytes).astype(int) - decode(plain.bytes)).mean() < 4
    assert image.bytes != plain.bytes


def test_heic_and_avif_are_decoded_by_their_content() -> None:
    import pillow_heif

    picture = Image.fromarray(pixels(0, 96, 64))
    heic, avif = io.BytesIO(), io.BytesIO()
    pillow_heif.from_pillow(picture).save(heic, quality=95)
    picture.save(avif, "AVIF", quality=95)
    for data in (heic.getvalue(), avif.getvalue()):
        found = np.asarray(load_image(data)).astype(int)
        assert found.shape == (64, 96, 3)
        assert np.abs(found - np.asarray(picture)).mean() < 12


def test_postscript_reaches_no_interpreter() -> None:
    with pytest.raises(ImageError, match="not an image that can be decoded"):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(touched) (w) file\n%%EOF\n")


def test_threads_share_the_pixels_that_are_decoded_at_once() -> None:
    budget, held, most, lock = PixelBudget(100), 0, 0, threading.Lock()

    def work(pixels: int) -> None:
        nonlocal held, most
        with budget.hold(pixels):
            with lock:
                held += min(pixels, 100)
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= min(pixels, 100)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [40, 60, 30, 500, 10, 90] * 5))
    assert held == 0
    assert most <= 100
