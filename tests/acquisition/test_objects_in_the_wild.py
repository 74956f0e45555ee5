"""INSTRE and ILIAS from a server on loopback: objects of all kinds, found in photographs that show more than them."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from pipeline.stage.errors import SourceError
from tests.acquisition.archives import tar
from tests.acquisition.published import photos, run, serve
from tests.loopback import LoopbackServer

INSTRE = ("INSTRE-S1/01a_book/001", "INSTRE-S1/01b_cup/001", "INSTRE-S1/01b_cup/002", "INSTRE-M/01_book_cup/001")


def instre_truth(box: tuple[float, float, float, float]) -> bytes:
    import scipy.io

    fields = [("ok", object), ("bbx", object)]
    entries = np.array([(np.array([2, 3]), np.array(box)), (np.array([1]), np.array([0.0, 0.0, 32.0, 24.0]))], dtype=fields)
    content = {
        "gnd": entries,
        "imlist": [f"{name}.jpg" for name in (INSTRE[0], INSTRE[2], INSTRE[3])],
        "qimlist": [f"{INSTRE[1]}.jpg", f"{INSTRE[3]}.jpg"],
    }
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {key: np.array(value, dtype=object) if key != "gnd" else value for key, value in content.items()})
    return buffer.getvalue()


BOXES = {INSTRE[0]: b"1 2 30 4\n", INSTRE[2]: b"2 3 4 5\n10 1 6 7\n", INSTRE[3]: b"0 0 10 12\n20 10 8 9 \n"}


def instre_files() -> dict[str, bytes]:
    shown = photos(*(f"instre/{name}.jpg" for name in (*INSTRE, "INSTRE-S2/07_lamp/001")))
    return shown | {f"instre/{name}.txt": content for name, content in BOXES.items()} | {"instre/readme.txt": b"of whom\n"}


def serve_instre(server: LoopbackServer, files: dict[str, bytes], box: tuple[float, float, float, float] = (4.0, 2.0, 50.0, 40.0)) -> None:
    serve(server, "instre", {"instre.tar.gz": tar(files), "gnd_instre.mat": instre_truth(box)})


def test_photographs_of_instre_are_told_apart_by_their_objects(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instre(server, instre_files())
    rows, truth = run(server, workplace, monkeypatch, "instre")
    assert [row.image_id for row in rows if row.role == "database"] == [INSTRE[0], INSTRE[2], INSTRE[3]], "those of the split alone"
    assert {row.image_id: row.box for row in rows if row.role == "query"} == {
        f"query/{INSTRE[1]}": (4.0, 2.0, 50.0, 40.0),
        f"query/{INSTRE[3]}": (0.0, 0.0, 32.0, 24.0),
    }
    assert truth.protocol == "instances"
    assert set(truth.rows) == {
        (f"query/{INSTRE[1]}", INSTRE[2], "ok"),
        (f"query/{INSTRE[1]}", INSTRE[3], "ok"),
        (f"query/{INSTRE[3]}", INSTRE[0], "ok"),
    }


def test_instre_says_where_the_object_is_that_a_query_asks_for(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instre(server, instre_files())
    rows, truth = run(server, workplace, monkeypatch, "instre")
    assert {row.image_id: row.box for row in rows if row.role == "database"} == {
        INSTRE[0]: (1.0, 2.0, 31.0, 6.0),
        INSTRE[2]: (2.0, 1.0, 16.0, 8.0),
        INSTRE[3]: (0.0, 0.0, 28.0, 19.0),
    }
    assert truth.objects == {(f"query/{INSTRE[1]}", INSTRE[3]): (20.0, 10.0, 28.0, 19.0)}, "01b is the second line of the photograph of both"


def test_photographs_of_instre_without_boxes_are_taken(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instre(server, {path: content for path, content in instre_files().items() if path.endswith(".jpg")})
    rows, truth = run(server, workplace, monkeypatch, "instre")
    assert [row.box for row in rows if row.role == "database"] == [None] * 3
    assert len(truth.rows) == 3
    assert not truth.objects


def test_a_file_of_boxes_of_instre_that_is_none_is_refused(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instre(server, instre_files() | {f"instre/{INSTRE[2]}.txt": b"2 3 4\n"})
    with pytest.raises(SourceError, match=r"01b_cup/002\.txt: expected lines of x, y, width and height, got b'2 3 4\\n'"):
        run(server, workplace, monkeypatch, "instre")


def test_boxes_of_instre_as_sizes_are_refused(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instre(server, instre_files(), (40.0, 30.0, 20.0, 10.0))
    with pytest.raises(SourceError, match=r"query INSTRE-S1/01b_cup/001\.jpg: expected a box x0 y0 x1 y1, got 40 30 20 10"):
        run(server, workplace, monkeypatch, "instre")


def ilias_files() -> dict[str, bytes]:
    boxes = {
        "bold_bimp_000/query/Q000_00": b"0 0 10 20\n",
        "bold_bimp_000/pos/P000_00": b"10 4 20 8\n30 2 5 30\n",
        "bold_bimp_000/pos/P000_01": b"1,2,3,4",
        "zippy_zoot_001/query/Q001_00": b"0 0 1 1\n",
        "zippy_zoot_001/pos/P001_00": b"5.5 6 7 8\n",
    }
    files = photos(*(f"ilias_core/{name}.jpg" for name in boxes))
    files |= {f"ilias_core/{name}_bbox.txt": content for name, content in boxes.items()}
    return files | {
        "ilias_core/bold_bimp_000/query/T000.txt": b"a bold thing",
        "ilias_core/bold_bimp_000/pos/P000_00_url.txt": b"https://example.org",
    }


def serve_ilias(server: LoopbackServer, files: dict[str, bytes], digest: str | None = None, **section: object) -> None:
    archive = tar(files, "")
    line = f"{digest or hashlib.sha256(archive).hexdigest()}  https://vrg.fel.cvut.cz/ilias_data/ilias_core.tar\n"
    listed = f"{'0' * 64}  https://vrg.fel.cvut.cz/ilias_data/yfcc100m/yfcc100m-0000.tar\n{line}"
    serve(server, "ilias", {"ilias_core.tar": archive, "checksums.txt": listed.encode()}, **section)


@pytest.mark.parametrize("query_boxes", [False, True])
def test_ilias(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, query_boxes: bool) -> None:
    serve_ilias(server, ilias_files(), query_boxes=query_boxes)
    rows, truth = run(server, workplace, monkeypatch, "ilias", query_boxes=query_boxes)
    assert {row.image_id: (row.role, row.instance, row.box) for row in rows} == {
        "bold_bimp_000/query/Q000_00": ("query", "bold_bimp_000", (0.0, 0.0, 10.0, 20.0) if query_boxes else None),
        "bold_bimp_000/pos/P000_00": ("database", "bold_bimp_000", (10.0, 2.0, 35.0, 32.0)),
        "bold_bimp_000/pos/P000_01": ("database", "bold_bimp_000", (1.0, 2.0, 4.0, 6.0)),
        "zippy_zoot_001/query/Q001_00": ("query", "zippy_zoot_001", (0.0, 0.0, 1.0, 1.0) if query_boxes else None),
        "zippy_zoot_001/pos/P001_00": ("database", "zippy_zoot_001", (5.5, 6.0, 12.5, 14.0)),
    }
    assert truth.protocol == "ilias"
    assert set(truth.rows) == {
        ("bold_bimp_000/query/Q000_00", "bold_bimp_000/pos/P000_00", "good"),
        ("bold_bimp_000/query/Q000_00", "bold_bimp_000/pos/P000_01", "good"),
        ("zippy_zoot_001/query/Q001_00", "zippy_zoot_001/pos/P001_00", "good"),
    }


def without(name: str) -> dict[str, bytes]:
    return {path: content for path, content in ilias_files().items() if path != name}


@pytest.mark.parametrize(
    ("files", "digest", "message"),
    [
        (ilias_files(), "0" * 64, r"ilias_core\.tar: sha256 is [0-9a-f]{64}, expected 0{64}"),
        (without("ilias_core/bold_bimp_000/pos/P000_01_bbox.txt"), None, r"P000_01\.jpg: no _bbox\.txt next to it"),
        (
            ilias_files() | {"ilias_core/bold_bimp_000/pos/P000_01_bbox.txt": b"1 2 3"},
            None,
            r"expected lines of x, y, width and height, got b'1 2 3'",
        ),
        (ilias_files() | {"ilias_core/bold_bimp_000/other/P.jpg": b"x"}, None, r"other/P\.jpg: expected OBJECT/pos or OBJECT/query to hold it"),
    ],
)
def test_a_core_of_ilias_that_does_not_fit_is_refused(
    server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], digest: str | None, message: str
) -> None:
    serve_ilias(server, files, digest)
    with pytest.raises(SourceError, match=message):
        run(server, workplace, monkeypatch, "ilias")


def test_distractors_of_ilias(server: LoopbackServer, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = {f"mini_ilias_yfcc100m-{number:06d}.tar": tar(photos(f"0000{number}/aa.jpg", f"0000{number}/bb.jpg"), "") for number in range(2)}
    serve(server, "ilias_distractors", shards, archives=2)
    rows, truth = run(server, workplace, monkeypatch, "ilias_distractors", archives=2)
    assert [(row.image_id, row.role) for row in rows] == [
        (f"yfcc100m/0000{number}/{name}", "distractor") for number in range(2) for name in ("aa", "bb")
    ]
    assert truth.queries == ()
