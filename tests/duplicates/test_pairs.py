"""Copies in a data set and between held-out set and database: exact, near, same scene; the page; the gate."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.acquisition.gallery_pictures import BENCHMARK_PHOTOGRAPHS, pictures
from pipeline.aggregation.leaks import leaking_photographs, refuse_duplicates
from pipeline.contracts.benchmarks import BenchmarkParameters
from pipeline.contracts.descriptors import KIND, DescriptorFacts, descriptor_columns, descriptor_writer
from pipeline.duplicates import pairs as duplicates
from pipeline.duplicates.page import render
from pipeline.duplicates.pairs import find_pairs
from pipeline.imaging.__main__ import main as resize
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.errors import LeakageError
from pipeline.stage.manifest import Manifest, describe_parts
from tests.contracts.test_collections import FACTS


def save(path: Path, image: Image.Image, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality)


@pytest.fixture
def museum(workplace: Path) -> Path:
    """Four pictures, an exact copy, a smaller one, and the same scene from the side; prepared by the stage resize."""
    from pipeline.acquisition.__main__ import main as download

    own = [Image.fromarray(picture) for picture in list(pictures(BENCHMARK_PHOTOGRAPHS).values())[:16:4]]
    folder = workplace / "photographs"
    for place, image in enumerate(own):
        save(folder / f"{place}.png", image)
    shutil.copy(folder / "0.png", folder / "copy.png")
    save(folder / "small.jpg", own[1].resize((own[1].width // 2, own[1].height // 2)), quality=60)
    width, height = own[2].size
    side = own[2].transform((width, height), Image.Transform.AFFINE, (0.8, 0.15, 0, -0.1, 0.85, 10), Image.Resampling.BICUBIC)
    save(folder / "side.png", side)
    save(workplace / "held" / "cropped.jpg", own[3].crop((4, 4, own[3].width - 6, own[3].height - 3)), quality=70)
    save(workplace / "held" / "noise.png", Image.effect_noise((64, 64), 80).convert("RGB"))
    datasets = {name: {"source": "folder", "path": str(workplace / place)} for name, place in (("mine", "photographs"), ("held", "held"))}
    content = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8")) | {"datasets": datasets}
    content["benchmarks"] = {"mine": {"dataset": "mine", "held_out": "held", "distractors": "none", "allow_self_learning": False}}
    (workplace / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    for name in datasets:
        download([name])
        resize([name])
    return workplace


def describe(names: list[str]) -> None:
    """Descriptors in which all images are neighbours."""
    folder = Path("data/descriptors/mine")
    folder.mkdir(parents=True)
    with descriptor_writer(folder / "database-00000.parquet", 2) as writer:
        writer.write(descriptor_columns(names, np.ones((len(names), 2), np.float32)))
    facts: DescriptorFacts = FACTS.described
    Manifest(KIND, describe_parts(folder, ["database-00000.parquet"]), facts.model_dump(mode="json")).save(folder)


def test_every_pair_is_named_once_by_its_closest_kind(museum: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 6)
    copies = [(pair.kind, pair.first, pair.second) for pair in find_pairs("mine", scenes=False)]
    assert copies == [("exact copy", "0.png", "copy.png"), ("near copy", "1.png", "small.jpg")]
    assert [(pair.kind, pair.first, pair.second) for pair in find_pairs("mine")] == copies, "nobody has described them"
    describe([row.image_id for row in read_catalogue(Path("data/images/mine/catalogue.parquet"))])
    found = find_pairs("mine")
    assert [(pair.kind, {pair.first, pair.second}) for pair in found[2:]] == [("same scene", {"2.png", "side.png"})]
    assert found[2].strength >= 20
    page = render("mine", found)
    assert page.count("<img") == 6
    assert "Copies in mine: 3 pairs" in page


def test_photographs_that_went_since_they_were_described_are_left_out(museum: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [row.image_id for row in read_catalogue(Path("data/images/mine/catalogue.parquet"))]
    describe([*(name for name in names if name != "side.png"), "gone.png"])
    assert {pair.kind for pair in find_pairs("mine")} == {"exact copy", "near copy"}
    assert "data/descriptors/mine: 2 photographs came or went since" in caplog.text


def test_held_out_copies_of_the_database_are_refused(museum: Path) -> None:
    held, rows = (read_catalogue(Path(f"data/images/{name}/catalogue.parquet")) for name in ("held", "mine"))
    sets = BenchmarkParameters(dataset="mine", held_out="held", distractors="none")
    pairs = leaking_photographs(sets, held, rows)
    assert pairs == [("cropped.jpg", "3.png")]
    message = r"1 photographs of mine are in the held-out set held as well, the first is 3\.png \(held out as cropped\.jpg\)"
    with pytest.raises(LeakageError, match=message):
        refuse_duplicates("b", sets, pairs)
    refuse_duplicates("b", sets.model_copy(update={"allow_self_learning": True}), pairs)
    own = BenchmarkParameters(dataset="mine", held_out="mine", distractors="none")
    assert set(leaking_photographs(own, rows, rows)) == {("0.png", "copy.png"), ("copy.png", "0.png"), ("1.png", "small.jpg"), ("small.jpg", "1.png")}
