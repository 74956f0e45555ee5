"""What a run did, as texts: the stage table, the graph as a Mermaid picture, and the lines that name failures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline.contracts.running.disk import human_bytes
from pipeline.stage.text_tables import markdown
from tasks.stages import StageResult, StageState

COLOURS = {
    StageState.COMPLETED: "fill:#d7f0dd,stroke:#2e8b57,color:#12351f",
    StageState.RESTORED: "fill:#d6e6fa,stroke:#3a6fb5,color:#12263f",
    StageState.UP_TO_DATE: "fill:#eeeeee,stroke:#9a9a9a,color:#333333",
    StageState.FAILED: "fill:#f8d4d4,stroke:#b53a3a,color:#4a1212",
    StageState.BLOCKED: "fill:#fbeccb,stroke:#b58a2e,color:#4a3812",
}


def stage_rows(results: Sequence[StageResult]) -> list[dict[str, Any]]:
    """One row per stage: state, seconds, rate, peak memory and bytes written; columns that no stage fills are left out."""
    rows = [_row(result) for result in results]
    filled = {heading for row in rows for heading, text in row.items() if text}
    return [{heading: text for heading, text in row.items() if heading in filled} for row in rows]


def _row(result: StageResult) -> dict[str, Any]:
    record = result.record
    return {
        "stage": result.stage.name,
        "state": str(result.state),
        "seconds": f"{result.seconds:.1f}" if result.seconds else "",
        "rate": f"{record.per_second:.1f} {record.unit}/s" if record and record.count else "",
        "peak memory": human_bytes(record.peak_memory_bytes) if record else "",
        "peak GPU memory": human_bytes(record.peak_gpu_bytes) if record and record.peak_gpu_bytes else "",
        "written": human_bytes(record.bytes_written) if record else "",
        "reason": result.reason,
    }


def stage_markdown(results: Sequence[StageResult]) -> str:
    """The rows of stages that did something, as a Markdown table."""
    shown = [row for row, result in zip(stage_rows(results), results, strict=True) if result.state is not StageState.UP_TO_DATE]
    if not shown:
        return "Every stage was up to date."
    headings = list(shown[0])
    return markdown(headings, ([row[heading] for heading in headings] for row in shown))


def mermaid(results: Sequence[StageResult]) -> str:
    """The graph as a Mermaid flowchart, every stage coloured by its state."""
    names = {result.stage.name: f"s{index}" for index, result in enumerate(results)}
    lines = ["graph TB"]
    for result in results:
        text = f"{result.stage.name}<br/>{result.state}" + (f", {result.seconds:.1f} s" if result.seconds else "")
        lines.append(f'  {names[result.stage.name]}["{text}"]:::{result.state}')
    for result in results:
        lines += [f"  {names[before]} --> {names[result.stage.name]}" for before in result.stage.upstream if before in names]
    lines += [f"  classDef {state} {colours}" for state, colours in COLOURS.items()]
    return "\n".join(lines)


def counts(results: Sequence[StageResult]) -> str:
    """`3 Completed, 10 UpToDate`."""
    found = Counter(result.state for result in results)
    return ", ".join(f"{found[state]} {state}" for state in StageState if found[state]) or "no stages"


def failure(results: Sequence[StageResult]) -> str:
    """One line per failed stage with its reason, and one that names what is missing now; empty where all went well."""
    lines = [f"{result.stage.name} failed: {result.reason}" for result in results if result.state is StageState.FAILED]
    blocked = [result for result in results if result.state is StageState.BLOCKED]
    if blocked:
        missing = ", ".join(output for result in blocked for output in result.stage.outputs)
        lines.append(f"not run: {', '.join(result.stage.name for result in blocked)}; out of date or missing: {missing}")
    return "\n".join(lines)
