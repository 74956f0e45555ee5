"""Every query and every instance of the report: which is worst, what was named rightly, and what is not known."""

from pipeline.reporting.query_tables import InstanceRow, QueryRow, instance_rows, query_rows


def row(query: str, setting: str, ap: float, first: str) -> dict[str, str]:
    return {"query_id": query, "setting": setting, "ap": f"{ap:.4f}", "first_positive": first}


ROWS = [row("q1", "database", 0.5, "0"), row("q2", "database", 0.25, "7.5"), row("q3", "database", 0.0, ""), row("q1", "with_distractors", 0.1, "9")]
INSTANCES = {"q1": "tower", "q2": "tower"}


def test_queries_of_one_setting_come_worst_first() -> None:
    found = query_rows(ROWS, "database", INSTANCES, {"q1": "tower", "q2": "bridge", "q3": "tower"})
    assert found == [
        QueryRow("q3", "", 0.0, None, "tower"),
        QueryRow("q2", "tower", 0.25, 8.5, "bridge"),
        QueryRow("q1", "tower", 0.5, 1, "tower"),
    ]
    assert [each.right for each in found] == ["", "wrong", "right"]


def test_instances_have_the_mean_of_their_queries() -> None:
    assert instance_rows(query_rows(ROWS, "database", INSTANCES, {"q1": "tower"})) == [InstanceRow("tower", 2, 0.375, 1)]
    assert instance_rows(query_rows(ROWS, "database", {}, {})) == []
