"""Records of runs: one for each state of dvc.lock, found again by it, and only the newest are kept."""

from dataclasses import asdict
from pathlib import Path

from pipeline.stage.run_record import RunRecord, record_path
from pipeline.stage.tables import write_json
from tasks import records
from tasks.stage_graph import Stage

STAGE = Stage("tail", "", ("data/tail",), (), ())


def ran(root: Path, number: int) -> dict[str, object]:
    """A run of the stage with a parameter of its own; returns its entry of dvc.lock."""
    entry: dict[str, object] = {"cmd": "make", "params": {"params.yaml": {"number": number}}}
    record = RunRecord("2026-01-01T00:00:00", "2026-01-01T00:00:01", float(number), 1, "files", 1.0, 1, 0, 1)
    write_json(root / record_path(Path("data/tail")), asdict(record))
    write_json(root / "dvc.lock", {"stages": {"tail": entry}})
    records.remember(root, STAGE)
    return entry


def test_the_newest_records_are_kept_and_found_by_what_dvc_lock_says(tmp_path: Path) -> None:
    first = ran(tmp_path, 0)
    found = records.recall(tmp_path, "tail", first)
    assert isinstance(found, RunRecord)
    assert found.seconds == 0
    last = [ran(tmp_path, number) for number in range(1, records.KEPT + 3)][-1]
    assert len(list((tmp_path / records.HISTORY / "tail").glob("*.json"))) == records.KEPT
    assert records.recall(tmp_path, "tail", first) is None
    newest = records.recall(tmp_path, "tail", last)
    assert newest is not None
    assert newest.seconds == records.KEPT + 2
