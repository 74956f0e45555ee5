"""The catalogue of a data set from those of its buckets."""

from pathlib import Path

import pytest

from pipeline.imaging import gathering
from pipeline.imaging.gathering import gather_catalogue
from pipeline.stage.catalogue import CatalogueRow, read_catalogue, write_catalogue
from pipeline.stage.tables import open_table


def row(image_id: str, role: str, status: str = "ok") -> CatalogueRow:
    return CatalogueRow(image_id, f"{role}/{image_id}.jpg", "0", 4, 3, role, "monument" if role == "database" else None, status=status)


ROWS = [
    [row("a", "database"), row("b", "distractor")],
    [row("c", "distractor", "unreadable: torn"), row("d", "query")],
    [row("e", "distractor")],
]


def written(folder: Path, buckets: list[list[CatalogueRow]]) -> list[Path]:
    paths = [folder / f"catalogue-{index:05d}.parquet" for index in range(len(buckets))]
    for path, rows in zip(paths, buckets, strict=True):
        write_catalogue(path, rows)
    return paths


@pytest.mark.parametrize(("at_once", "groups"), [(2, 3), (3, 2), (2**14, 1)])
def test_rows_keep_their_order_and_distractors_are_only_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, groups: int) -> None:
    monkeypatch.setattr(gathering, "ROWS_AT_ONCE", at_once)
    found = gather_catalogue(written(tmp_path, ROWS), tmp_path / "all.parquet")
    assert read_catalogue(tmp_path / "all.parquet") == [row for rows in ROWS for row in rows]
    assert open_table(tmp_path / "all.parquet", "catalogue").num_row_groups == groups
    assert (found.images, found.distractors, found.repeated) == (5, 3, None)
    assert [row.image_id for row in found.rows] == ["a", "d"]
    assert [row.image_id for row in found.unreadable] == ["c"]
    assert sorted(found.shown()) == [("database", "monument"), *[("distractor", None)] * 3, ("query", None)]


def test_a_catalogue_of_one_part_has_the_bytes_of_its_rows_written_at_once(tmp_path: Path) -> None:
    gather_catalogue(written(tmp_path, ROWS), tmp_path / "all.parquet")
    write_catalogue(tmp_path / "once.parquet", [row for rows in ROWS for row in rows])
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "once.parquet").read_bytes()


def test_the_second_image_of_an_id_is_named(tmp_path: Path) -> None:
    found = gather_catalogue(written(tmp_path, [*ROWS, [row("f", "query"), row("b", "query")]]), tmp_path / "all.parquet")
    assert found.repeated == ("b", "query/b.jpg")


def test_no_images_are_an_empty_catalogue(tmp_path: Path) -> None:
    assert gather_catalogue([], tmp_path / "all.parquet").images == 0
    assert read_catalogue(tmp_path / "all.parquet") == []
