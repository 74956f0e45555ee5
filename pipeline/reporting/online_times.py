"""The online time per image on the page: stacked bars by system and step."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.reporting.figures import distinct, svg
from pipeline.stage.text_tables import read_rows


def online_times(path: Path) -> list[str]:
    """Stacked bars of reports/online_time.csv, one SVG per length of the descriptor: system, step, milliseconds (paper 3, fig. 7)."""
    rows = read_rows(path, "`python -m bench.online_time`")
    return [_bars([row for row in rows if row["dimensions"] == length], length) for length in distinct(row["dimensions"] for row in rows)]


def _bars(rows: list[dict[str, str]], length: str) -> str:
    systems = distinct(row["system"] for row in rows)

    def draw(axes: Any) -> None:
        left = np.zeros(len(systems))
        for step in distinct(row["step"] for row in rows):
            times = {row["system"]: float(row["milliseconds"]) for row in rows if row["step"] == step}
            widths = np.array([times.get(system, 0.0) for system in systems])
            axes.barh(systems, widths, left=left, label=step)
            left += widths
        axes.set(xlabel="milliseconds per image", title=f"{length} dimensions")
        axes.invert_yaxis()
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return svg(draw, (5.6, 2.4), f"Online time per image at {length} dimensions")
