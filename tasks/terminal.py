"""Plans on the terminal."""

import sys
from collections.abc import Mapping

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from tasks.planning import Plan, Verdict

STYLES = {Verdict.WILL_RUN: "bold yellow", Verdict.MAY_RUN: "yellow", Verdict.RESTORABLE: "cyan", Verdict.UP_TO_DATE: "dim"}
REASONS_SHOWN = 3
WIDTH = 160
"""Columns where the output is no terminal."""


def print_plan(plan: Plan, told: Mapping[str, str] | None = None) -> None:
    """Print one row per stage: what will happen, why, and how long it took last time.

    Args:
        told: what changed in an input, by its path, where more than that is known.
    """
    table = Table("stage", "", "reason", box=SIMPLE, pad_edge=False)
    table.add_column("last time", justify="right")
    for planned in plan.stages:
        last = f"{planned.last.seconds:.1f} s" if planned.last else ""
        reasons = tuple((told or {}).get(reason.partition(" ")[0], reason) for reason in planned.reasons)
        table.add_row(planned.stage.name, str(planned.verdict), _reasons(reasons), last, style=STYLES[planned.verdict])
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    console.print(plan.expectation)


def _reasons(reasons: tuple[str, ...]) -> str:
    more = f" and {len(reasons) - REASONS_SHOWN} more" if len(reasons) > REASONS_SHOWN else ""
    return "; ".join(reasons[:REASONS_SHOWN]) + more
