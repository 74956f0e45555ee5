"""Every published benchmark from a server on loopback with small archives of the same layout, through the stages download and resize."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.acquisition import products
from pipeline.acquisition.affine_covariant import SCENES
from pipeline.stage.errors import ImageError, SourceError
from tests.acquisition.archives import rar, tar, zipped
from tests.acquisition.published import photos, run, serve
from tests.loopback import LoopbackServer
from tests.pictures import encoded


def text_truth(query: str, prefix: str = "") -> dict[str, bytes]:
    return {
        "gt/tower_1_query.txt": f"{prefix}{query} 8.0 4.0 60.5 40.0\n".encode(),
        "gt/tower_1_good.txt": f"{query}\n".encode(),
        "gt/tower_1_ok.txt": b"tower_000002\n",
        "gt/tower_1_junk.txt": b"tower_000003\n",
    }


def test_oxford5k(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"tower_00000{number}.jpg" for number in (1, 2, 3, 4)]
    serve(server, "oxford5k", {"oxbuild_images.tgz": tar(photos(*names)), "gt_files_170407.tgz": tar(text_truth("tower_000001", "oxc1_"))})
    rows, truth = run(server, workplace, monkeypatch, "oxford5k")
    assert [(row.image_id, row.role) for row in rows if row.role == "query"] == [("query/tower_1", "query")]
    assert sum(row.role == "database" for row in rows) == 4
    assert truth.protocol == "oxford"
    assert set(truth.rows) == {("query/tower_1", f"tower_00000{number}", kind) for number, kind in ((1, "good"), (2, "ok"), (3, "junk"))}


def test_paris6k_leaves_its_broken_images_out(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {f"paris/defense/{name}": data for name, data in photos("tower_000001.jpg", "tower_000002.jpg").items()}
    second = {"paris/defense/tower_000003.jpg": encoded(9), "paris/louvre/paris_louvre_000136.jpg": b"<html>302 Found</html>"}
    contents = {"paris_1.tgz": tar(first), "paris_2.tgz": tar(second), "paris_120310.tgz": tar(text_truth("tower_000001"))}
    serve(server, "paris6k", contents)
    rows, truth = run(server, workplace, monkeypatch, "paris6k")
    broken = [row for row in rows if not row.readable]
    assert [row.path for row in broken] == ["paris/louvre/paris_louvre_000136.jpg"]
    assert "unreadable" in broken[0].status
    assert len(truth.queries) == 1


def test_another_broken_image_counts_against_what_is_tolerated(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = photos(*(f"tower_00000{number}.jpg" for number in (1, 2, 3))) | {"bad.jpg": b"nothing"}
    serve(server, "oxford5k", {"oxbuild_images.tgz": tar(images), "gt_files_170407.tgz": tar(text_truth("tower_000001", "oxc1_"))})
    with pytest.raises(ImageError, match=r"1 of 5 images are unreadable, resize\.tolerate allows 0; .*: bad\.jpg \(not an image"):
        run(server, workplace, monkeypatch, "oxford5k")
    assert not Path("data/images/x").exists()
    rows, _ = run(server, workplace, monkeypatch, "oxford5k", tolerate=1)
    assert sum(not row.readable for row in rows) == 1


def gnd_mat() -> bytes:
    import scipy.io

    def entry(easy: list[int], hard: list[int], junk: list[int]) -> tuple[object, ...]:
        return (np.array(easy), np.array(hard), np.array(junk), np.array([4.0, 2.0, 50.0, 40.0]))

    fields = [("easy", object), ("hard", object), ("junk", object), ("bbx", object)]
    entries = np.array([entry([1], [2], []), entry([], [3], [1, 2])], dtype=fields)
    names = np.array(["tower_000001", "tower_000002", "tower_000003"], dtype=object)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"gnd": entries, "imlist": names, "qimlist": np.array(["ask_000001", "ask_000002"], dtype=object)})
    return buffer.getvalue()


@pytest.mark.parametrize(("source", "truth_name"), [("roxford5k", "gnd_roxford5k.mat"), ("rparis6k", "gnd_rparis6k.mat")])
def test_revisited_queries_are_not_in_the_database(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, source: str, truth_name: str
) -> None:
    names = ["tower_000001.jpg", "tower_000002.jpg", "tower_000003.jpg", "ask_000001.jpg", "ask_000002.jpg", "other.jpg"]
    empty = tar({})
    serve(
        server, source, {"oxbuild_images.tgz": tar(photos(*names)), "paris_1.tgz": tar(photos(*names)), "paris_2.tgz": empty, truth_name: gnd_mat()}
    )
    rows, truth = run(server, workplace, monkeypatch, source)
    assert [row.image_id for row in rows if row.role == "database"] == ["tower_000001", "tower_000002", "tower_000003"]
    assert [row.image_id for row in rows if row.role == "query"] == ["query/ask_000001", "query/ask_000002"]
    assert truth.protocol == "revisited"
    assert set(truth.rows) == {
        ("query/ask_000001", "tower_000001", "easy"),
        ("query/ask_000001", "tower_000002", "hard"),
        ("query/ask_000002", "tower_000003", "hard"),
        ("query/ask_000002", "tower_000001", "junk"),
        ("query/ask_000002", "tower_000002", "junk"),
    }


def test_holidays_stand_upright(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {f"jpg/{name}.jpg": encoded(seed) for seed, name in enumerate(("100000", "100001", "100600"))}
    serve(server, "holidays", {"jpg1.tar.gz": tar(first), "jpg2.tar.gz": tar({"jpg/100601.jpg": encoded(7)})})
    rows, truth = run(server, workplace, monkeypatch, "holidays")
    sizes = {row.image_id: (row.width, row.height, row.rotation) for row in rows}
    assert sizes["100000"] == (96, 64, 0)
    assert sizes["100600"] == (64, 96, 90)
    assert truth.queries == ("100000", "100600")
    assert ("100000", "100000", "junk") in truth.rows
    assert ("100000", "100001", "good") in truth.rows
    flat, _ = run(server, workplace, monkeypatch, "holidays", upright=False)
    assert all(row.width == 96 for row in flat)


def test_ukbench(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = {f"full/ukbench{number:05d}.jpg": encoded(number) for number in range(8)}
    thumbs = {f"thumbnails/ukbench{number:05d}.th.jpg": encoded(number, 40, 30) for number in range(8)}
    serve(server, "ukbench", {"ukbench.zip": zipped(full | thumbs)})
    rows, truth = run(server, workplace, monkeypatch, "ukbench")
    assert len(rows) == 8
    assert truth.queries == tuple(f"ukbench{number:05d}" for number in range(8))
    assert sum(query == "ukbench00005" for query, _, _ in truth.rows) == 4


def test_sculptures6k(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test = {f"test/{name}": data for name, data in photos("tower_000001.jpg", "tower_000002.jpg", "tower_000003.jpg").items()}
    train = {f"train/{name}": data for name, data in photos("Rodin_0001.jpg").items()}
    contents = {"sculptures6k_test.tgz": tar(test), "sculptures6k_train.tgz": tar(train), "sculptures6k_gt.tgz": tar(text_truth("tower_000001"))}
    serve(server, "sculptures6k", contents)
    rows, _ = run(server, workplace, monkeypatch, "sculptures6k")
    assert {row.image_id: row.role for row in rows}["Rodin_0001"] == "held_out"


PRODUCTS = {
    "Ebay_train.txt": b"image_id class_id super_class_id path\n1 1 1 sofa_final/111_0.JPG\n2 1 1 sofa_final/111_1.JPG\n",
    "Ebay_test.txt": b"image_id class_id super_class_id path\n1 7 2 lamp_final/222_0.JPG\n2 7 2 lamp_final/222_1.JPG\n3 8 2 lamp_final/333_0.JPG\n",
}


def serve_products(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, lists: dict[str, bytes]) -> None:
    pictures = photos("sofa_final/111_0.JPG", "sofa_final/111_1.JPG", "lamp_final/222_0.JPG", "lamp_final/222_1.JPG", "lamp_final/333_0.JPG")
    archive = zipped({f"Stanford_Online_Products/{name}": data for name, data in (lists | pictures).items()})
    monkeypatch.setattr(products, "FILE", replace(products.FILE, checksum=f"md5:{hashlib.md5(archive, usedforsecurity=False).hexdigest()}"))
    serve(server, "online_products", {products.FILE.name: archive})


def test_online_products(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_products(server, monkeypatch, PRODUCTS)
    rows, truth = run(server, workplace, monkeypatch, "online_products")
    assert {row.image_id: (row.role, row.instance) for row in rows} == {
        "111_0": ("held_out", "product_00001"),
        "111_1": ("held_out", "product_00001"),
        "222_0": ("database", "product_00007"),
        "222_1": ("database", "product_00007"),
        "333_0": ("database", "product_00008"),
    }
    assert (truth.protocol, truth.queries) == ("products", ("222_0", "222_1")), "a product with one photograph asks for nothing"
    assert set(truth.rows[:2]) == {("222_0", "222_0", "junk"), ("222_0", "222_1", "good")}


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"Ebay_test.txt": PRODUCTS["Ebay_test.txt"]}, r"no Ebay_train\.txt in it"),
        (PRODUCTS | {"Ebay_test.txt": b"image_id class_id\n1 7\n"}, r"Ebay_test\.txt, line 2: expected image_id, class_id"),
        (
            PRODUCTS | {"Ebay_test.txt": b"header\n1 7 2 lamp_final/9_0.JPG\n"},
            r"1 photographs of its lists are not in it, the first is lamp_final/9_0",
        ),
    ],
)
def test_products_without_their_lists_are_refused(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, lists: dict[str, bytes], message: str
) -> None:
    serve_products(server, monkeypatch, lists)
    with pytest.raises(SourceError, match=message):
        run(server, workplace, monkeypatch, "online_products")


def test_google_landmarks(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"index": 2, "test": 1, "train": 1}
    solution = "id,images,Usage\nq1q1,a1a1 b2b2 gone,Private\nq2q2,b2b2,Public\nq3q3,None,Ignored\nfar,a1a1,Public\n"
    contents = {
        "retrieval_solution_v2.1.csv": solution.encode(),
        "train_clean.csv": b"landmark_id,images\n12,t1t1 t2t2\n",
        "index_000.tar": tar(photos("a/1/a/a1a1.jpg"), ""),
        "index_001.tar": tar(photos("b/2/b/b2b2.jpg", "c/3/c/c3c3.jpg"), ""),
        "test_000.tar": tar(photos("q/1/q/q1q1.jpg", "q/2/q/q2q2.jpg", "q/3/q/q3q3.jpg"), ""),
        "train_000.tar": tar(photos("t/1/t/t1t1.jpg", "t/9/t/t9t9.jpg"), ""),
    }
    serve(server, "google_landmarks", contents, **section)
    rows, truth = run(server, workplace, monkeypatch, "google_landmarks", **section)
    assert {row.image_id: (row.role, row.instance) for row in rows} == {
        **dict.fromkeys(("a1a1", "b2b2", "c3c3"), ("database", None)),
        **dict.fromkeys(("q1q1", "q2q2"), ("query", None)),
        "t1t1": ("held_out", "landmark_12"),
    }
    assert (truth.protocol, truth.queries) == ("google_landmarks", ("q1q1", "q2q2"))
    assert truth.rows == (("q1q1", "a1a1", "good"), ("q1q1", "b2b2", "good"), ("q2q2", "b2b2", "good")), "without those of other archives"


MET_LISTS: dict[str, list[dict[str, object]]] = {
    "MET_database.json": [{"id": 34, "path": "MET/34/0.jpg"}, {"id": 34, "path": "MET/34/1.jpg"}, {"id": 7, "path": "MET/7/0.jpg"}],
    "mini_MET_database.json": [{"id": 34, "path": "MET/34/0.jpg"}],
    "testset.json": [{"path": "test_met/aa.jpg", "MET_id": 34, "photographer": "x"}, {"path": "test_other/bb.jpg", "category": "y"}],
    "valset.json": [{"path": "test_met/cc.jpg", "MET_id": 7}, {"path": "test_noart/dd.jpg", "category": "z"}],
}


def serve_met(server: LoopbackServer, lists: dict[str, list[dict[str, object]]] = MET_LISTS, **section: Any) -> None:
    contents = {
        "ground_truth.tar.gz": tar({f"ground_truth/{name}": json.dumps(entries).encode() for name, entries in lists.items()}),
        "MET.tar.gz": tar(photos("MET/34/0.jpg", "MET/34/1.jpg", "MET/7/0.jpg")),
        "small_MET.tar.gz": tar(photos("MET/34/0.jpg")),
        "test_met.tar.gz": tar(photos("test_met/aa.jpg", "test_met/cc.jpg")),
        "test_other.tar.gz": tar(photos("test_other/bb.jpg")),
        "test_noart.tar.gz": tar(photos("test_noart/dd.jpg")),
    }
    serve(server, "met", contents, **section)


@pytest.mark.parametrize(
    ("section", "asked"),
    [
        ({}, {"test_met/aa": "exhibit_34", "test_other/bb": None}),
        ({"queries": "validation"}, {"test_met/cc": "exhibit_7", "test_noart/dd": None}),
        ({"others": False}, {"test_met/aa": "exhibit_34"}),
    ],
)
def test_met(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, section: dict[str, Any], asked: dict[str, str | None]) -> None:
    serve_met(server, **section)
    rows, truth = run(server, workplace, monkeypatch, "met", **section)
    database = {"MET/34/0": "exhibit_34", "MET/34/1": "exhibit_34", "MET/7/0": "exhibit_7"}
    assert {row.image_id: row.instance for row in rows if row.role == "database"} == database
    assert {row.image_id: row.instance for row in rows if row.role == "query"} == asked
    assert set(truth.queries) == set(asked)
    assert {(query, image) for query, image, _ in truth.rows} == {
        (query, image) for query, shown in asked.items() for image, instance in database.items() if instance == shown
    }


def test_the_small_database_of_the_met(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_met(server, database="small")
    rows, _ = run(server, workplace, monkeypatch, "met", database="small")
    assert [row.image_id for row in rows if row.role == "database"] == ["MET/34/0"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"MET_database.json": MET_LISTS["MET_database.json"]}, r"no testset\.json in it"),
        (MET_LISTS | {"testset.json": [{"file": "a.jpg"}]}, r"testset\.json: expected a list of entries that have path"),
        (MET_LISTS | {"MET_database.json": [{"path": "MET/34/0.jpg"}]}, r"expected a list of entries that have id and path"),
        (
            MET_LISTS | {"testset.json": [{"path": "test_met/zz.jpg"}]},
            r"1 photographs of the ground truth are not in the archives, the first is test_met/zz\.jpg",
        ),
    ],
)
def test_lists_of_the_met_that_do_not_fit_are_refused(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, lists: dict[str, list[dict[str, object]]], message: str
) -> None:
    serve_met(server, lists)
    with pytest.raises(SourceError, match=message):
        run(server, workplace, monkeypatch, "met")


def test_another_table_than_the_solution_is_refused(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"index": 1, "test": 1}
    serve(server, "google_landmarks", {"": tar(photos("a/1/a/a1a1.jpg"), ""), "retrieval_solution_v2.1.csv": b"a,b\n1,2\n"}, **section)
    with pytest.raises(SourceError, match=r"retrieval_solution_v2\.1\.csv: expected the columns id, images, Usage, got a, b"):
        run(server, workplace, monkeypatch, "google_landmarks", **section)


@pytest.mark.slow
def test_flickr100k(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(
        server,
        "flickr100k",
        {"": b"", "oxc1_100k.part01.rar": rar({f"oxc1_100k/cat/{name}": data for name, data in photos("c1.jpg", "c2.jpg").items()})},
    )
    for path in server.files:
        server.files[path] = server.files[path] or b"-"
    rows, truth = run(server, workplace, monkeypatch, "flickr100k")
    assert [(row.image_id, row.role) for row in rows] == [("flickr100k/cat/c1", "distractor"), ("flickr100k/cat/c2", "distractor")]
    assert truth.queries == ()


@pytest.mark.slow
def test_flickr100k_gives_a_held_out_set_drawn_by_its_seed(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = photos(*(f"c{number}.jpg" for number in range(6)))
    drawn = []
    for seed in (0, 0, 1, 2, 3):
        section = {"held_out": 2, "seed": seed}
        serve(
            server, "flickr100k", {"": b"-", "oxc1_100k.part01.rar": rar({f"oxc1_100k/cat/{name}": data for name, data in names.items()})}, **section
        )
        rows, _ = run(server, workplace, monkeypatch, "flickr100k", **section)
        assert sorted(row.role for row in rows) == ["distractor"] * 4 + ["held_out"] * 2
        drawn.append(frozenset(row.image_id for row in rows if row.role == "held_out"))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_mirflickr1m(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, "mirflickr1m", {"images0.zip": zipped({f"images/0/{number}.jpg": encoded(number) for number in range(3)})}, archives=1)
    rows, _ = run(server, workplace, monkeypatch, "mirflickr1m", archives=1)
    assert [row.image_id for row in rows] == ["mirflickr1m/0", "mirflickr1m/1", "mirflickr1m/2"]


@pytest.mark.parametrize(
    ("images", "truth", "message"),
    [
        (
            {"tower_000002.jpg": 0, "tower_000003.jpg": 1},
            text_truth("tower_000001", "oxc1_"),
            "1 query images are not in the archives, the first is tower_000001",
        ),
        ({"tower_000001.jpg": 0}, text_truth("tower_000001", "oxc1_"), "names 2 images that are not in the data set"),
        ({"tower_000001.jpg": 0}, {"readme.txt": b""}, r"no \*_query\.txt in it"),
        ({"tower_000001.jpg": 0}, {"a_query.txt": b"tower_000001 1 2\n"}, "query a are incomplete or malformed"),
        ({"../../x.jpg": 0, "tower_000001.jpg": 1}, text_truth("tower_000001", "oxc1_"), r"'\.\./\.\./x\.jpg' would leave"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, images: dict[str, int], truth: dict[str, bytes], message: str
) -> None:
    archive = tar({name: encoded(seed) for name, seed in images.items()})
    serve(server, "oxford5k", {"oxbuild_images.tgz": archive, "gt_files_170407.tgz": tar(truth)})
    with pytest.raises(SourceError, match=message):
        run(server, workplace, monkeypatch, "oxford5k")
    assert not Path("data/images/x").exists()


def test_affine_covariant_regions(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = {}
    for seed, scene in enumerate(SCENES):
        kind = "pgm" if scene == "boat" else "ppm"
        files = {f"img{number}.{kind}": encoded(10 * seed + number, format="PPM") for number in (1, 2)}
        scenes[f"{scene}.tar.gz"] = tar(files | {"H1to2p": b"1 0 0 0 1 0 0 0 1"}, "gz")
    serve(server, "affine_covariant", scenes)
    rows, truth = run(server, workplace, monkeypatch, "affine_covariant")
    assert [row.image_id for row in rows] == [f"{scene}/img{number}" for scene in SCENES for number in (1, 2)]
    assert {row.instance for row in rows} == set(SCENES)
    assert {row.status for row in rows} == {"ok"}
    assert truth.rows[:2] == (("bark/img1", "bark/img1", "junk"), ("bark/img1", "bark/img2", "good"))
