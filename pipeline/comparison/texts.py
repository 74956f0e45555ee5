"""A comparison as Markdown, and as tables on the terminal."""

import sys
from collections.abc import Iterator

from pipeline.comparison.comparing import BenchmarkDifference, Comparison, MetricDifference
from pipeline.reporting.wording import measure
from pipeline.stage import text_tables

WIDTH = 130
"""Columns where the output is no terminal."""
NAMES = {"map": "mAP", "map_plain": "mAP plain", "precision_at_1": "P@1"}
SAME = ("map_trapezoid",)
"""Metrics that stand in the table under another name: mAP is one of its two rules."""
HEADINGS = ("benchmark", "database", "metric", "before", "after", "difference", "95 % interval", "p", "gained", "lost")
PARAMETER_HEADINGS = ("parameter", "before", "after")
STAGE_HEADINGS = ("stage", "differs in", "seconds before", "seconds after")


def verdict(comparison: Comparison) -> str:
    """One line: whether any number differs, and where one surely does."""
    if not comparison.metrics_differ:
        count = len(comparison.benchmarks)
        return f"No metric differs, nor the result of any query, in {count} benchmark{'s' if count != 1 else ''}."
    sure = [
        f"{benchmark.benchmark} {benchmark.setting} {NAMES[metric.name]} {signed(metric.difference)}"
        for benchmark in comparison.benchmarks
        for metric in benchmark.metrics
        if metric.name in NAMES and metric.paired and metric.paired.certain
    ]
    if sure:
        return f"Differs by more than chance: {'; '.join(sure)}."
    differing = [benchmark for benchmark in comparison.benchmarks if benchmark.differs]
    if not differing:
        return f"On one side only: {', '.join(comparison.only_before + comparison.only_after)}; no metric of the others differs."
    if any(not benchmark.tested for benchmark in differing):
        return "Metrics differ; where the two sides share no queries, nothing can be said of chance."
    return "Metrics differ, but by no more than chance would make them."


def rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Cells of the metrics that are means over queries, and of every other one that differs."""
    for benchmark in comparison.benchmarks:
        for metric in benchmark.metrics:
            if metric.name in NAMES or (metric.differs and metric.name not in SAME):
                yield (benchmark.benchmark, benchmark.setting, NAMES.get(metric.name) or measure(metric.name), *_numbers(metric))


def _numbers(metric: MetricDifference) -> tuple[str, ...]:
    before, after, difference = number(metric.before), number(metric.after), signed(metric.difference)
    if metric.paired is None:
        return (before, after, difference, "", "", "", "")
    paired = metric.paired
    interval = f"{signed(paired.low)} to {signed(paired.high)}"
    return (before, after, difference, interval, f"{paired.p_value:.4f}", str(paired.gained), str(paired.lost))


def number(value: float) -> str:
    """Counts as they are, other numbers with four decimals."""
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def signed(value: float) -> str:
    """With its sign; zero has none."""
    if value == 0:
        return "0"
    return f"{value:+d}" if isinstance(value, int) else f"{value:+.4f}"


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown."""
    lines = [f"**{_escaped(comparison.before)}** → **{_escaped(comparison.after)}**", "", verdict(comparison), ""]
    table = list(rows(comparison))
    if table:
        lines += [text_tables.markdown(HEADINGS, table), ""]
    for benchmark in comparison.benchmarks:
        lines += _queries(benchmark)
    for title, names in (("Only before", comparison.only_before), ("Only after", comparison.only_after)):
        lines += [f"{title}: {', '.join(names)}", ""] if names else []
    if comparison.parameters:
        lines += ["Parameters:", "", text_tables.markdown(PARAMETER_HEADINGS, parameter_rows(comparison)), ""]
    if comparison.code:
        lines += [f"Code: {', '.join(comparison.code)}", ""]
    if comparison.stages:
        lines += ["Stages:", "", text_tables.markdown(STAGE_HEADINGS, stage_rows(comparison)), ""]
    return "\n".join(lines).rstrip() + "\n"


def parameter_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Cells of the parameters that differ."""
    return [(each.path, each.before, each.after) for each in comparison.parameters]


def stage_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Cells of the stages that differ."""
    return [(each.stage, ", ".join(each.differs), _seconds(each.before_seconds), _seconds(each.after_seconds)) for each in comparison.stages]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _queries(benchmark: BenchmarkDifference) -> list[str]:
    lines = []
    for title, changes in (("gained", benchmark.gained), ("lost", benchmark.lost)):
        if changes:
            listed = ", ".join(f"`{change.query_id}` {change.before:.3f} → {change.after:.3f}" for change in changes)
            lines += [f"{benchmark.benchmark} {benchmark.setting}, queries that {title} most: {listed}", ""]
    if benchmark.unpaired:
        where = f"{benchmark.benchmark} {benchmark.setting}"
        lines += [f"{where}: {benchmark.unpaired} queries are on one side only; differences, intervals and p are of the others.", ""]
    return lines


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def print_comparison(comparison: Comparison) -> None:
    """Print the comparison as tables."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(f"{comparison.before} → {comparison.after}", highlight=False, markup=False)
    tables = (
        (HEADINGS, list(rows(comparison))),
        (PARAMETER_HEADINGS, parameter_rows(comparison)),
        (STAGE_HEADINGS, stage_rows(comparison)),
    )
    for headings, body in tables:
        if body:
            table = Table(*headings, box=SIMPLE, pad_edge=False)
            for row in body:
                table.add_row(*row)
            console.print(table)
    for benchmark in comparison.benchmarks:
        for line in filter(None, _queries(benchmark)):
            console.print(line.replace("`", ""), highlight=False, markup=False)
    if comparison.code:
        console.print(f"Code that differs: {', '.join(comparison.code)}", highlight=False, markup=False)
    console.print(verdict(comparison), highlight=False, markup=False)
