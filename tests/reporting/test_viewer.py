"""What the report's viewer is given: every query with its results, pictures of files, and words instead of keys."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline.acquisition.__main__ import main as download
from pipeline.imaging.__main__ import main as resize
from pipeline.reporting import wording
from pipeline.reporting.pictures import files_of, picture_name, write_pictures
from pipeline.reporting.query_tables import QueryRow
from pipeline.reporting.retrievals import Hit, Retrievals, ShownQuery
from pipeline.reporting.viewer import ShownImage, viewer_data

FIRST = ShownQuery("q</script>", 0.5, [Hit("a", 0, "relevant", 0.9, (10.0, 20.0, 30.0, 40.04)), Hit("b", 1, "junk", 0.8)], "tower; known")
SECOND = ShownQuery("r", 0.25, [Hit("a", 0, "irrelevant", 0.7)])
LAST = ShownQuery("r", 0.25, [Hit("c", 400, "relevant", 0.1)])
IMAGES = {name: ShownImage(f"{name}.jpg", None if name == "c" else f"set/{name}.jpg") for name in ("q</script>", "r", "a", "b", "c")}


def test_every_query_has_its_results_and_those_that_the_page_shows_further_down() -> None:
    rows = [QueryRow("q</script>", "tower", 0.5, 1, "tower"), QueryRow("r", "", 0.25, None, "")]
    text = viewer_data(rows, Retrievals([FIRST], [], [LAST], [], 0, [FIRST, SECOND]), IMAGES)
    assert "<" not in text, "nothing in it can end the element that holds it"
    found = json.loads(text)
    names = [image[0] for image in found["images"]]
    assert sorted(names) == sorted(IMAGES)
    assert found["images"][names.index("c")] == ["c", "c.jpg", None]
    first, second = found["queries"]
    assert names[first["image"]] == "q</script>"
    assert first["about"] == "shows tower · average precision 0.5000 · taken for tower; known"
    assert first["hits"] == [[names.index("a"), 0, 1, 0.9, [10.0, 20.0, 30.0, 40.0]], [names.index("b"), 1, 2, 0.8, None]]
    assert second["about"] == "average precision 0.2500"
    assert [(names[hit[0]], found["verdicts"][hit[1]], hit[2]) for hit in second["hits"]] == [("a", "irrelevant", 1), ("c", "relevant", 401)]


@pytest.fixture
def images(workplace: Path) -> Path:
    """data/images of a folder with a large photograph, a small one, and one whose name is a path elsewhere."""
    for name, side in (("large.jpg", 900), ("small.png", 80), ("a b%23.png", 90)):
        Image.new("RGB", (side, side // 2), (200, 30, 30)).save(workplace / name)
    (workplace / "params.yaml").write_text("datasets: {mine: {source: folder, path: mine}}\nresize: {pixels: 640}\n", encoding="utf-8")
    (workplace / "mine").mkdir()
    for name in ("large.jpg", "small.png", "a b%23.png"):
        (workplace / name).rename(workplace / "mine" / name)
    download(["mine"])
    resize(["mine"])
    return workplace / "data/images/mine"


def test_pictures_are_as_large_as_asked_and_no_larger_than_the_photograph(images: Path, workplace: Path) -> None:
    assert files_of(images, {"large.jpg", "other"}) == {"large.jpg": "large.jpg"}
    folder = workplace / "reports/pictures"
    for _ in range(2):
        assert write_pictures(folder, {images: {"large.jpg", "small.png", "a b%23.png"}}, 100) == 3
        sizes = {}
        for name in ("large.jpg", "small.png", "a b%23.png"):
            with Image.open(folder / picture_name("mine", name)) as picture:
                sizes[name] = picture.size
                assert picture.format == "JPEG"
        assert sizes == {"large.jpg": (100, 50), "small.png": (80, 40), "a b%23.png": (90, 45)}
    assert write_pictures(folder, {images: {"small.png"}}, 100) == 1
    assert [path.name for path in folder.rglob("*.jpg")] == [picture_name("mine", "small.png").partition("/")[2]]
    assert [path.name for path in folder.parent.iterdir()] == ["pictures"]


def test_numbers_have_words() -> None:
    assert wording.measure("precision_at_1").endswith("(P@1)")
    assert wording.measure("precision_at_10") == "precision of the first 10"
    assert wording.measure("map_at_chance") == "mAP of a random order"
    assert wording.measure("something_new") == "something new"
    assert (wording.value("at_chance_level", 1), wording.value("map", 0.25), wording.value("scored_queries", 3)) == ("yes", "0.2500", "3")
    assert wording.setting("with_distractors/hard") == "with distractors, hard"
