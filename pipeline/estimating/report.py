"""The command `retrieval estimate`: what params.yaml as it stands would take for many photographs."""

import os

from pipeline.contracts.running.disk import human_bytes
from pipeline.estimating.stages import Machine, StageCost, stage_costs
from pipeline.estimating.unit_costs import UnitCosts, unit_costs
from pipeline.estimating.workload import Workload, workload
from pipeline.stage.errors import ParameterError
from pipeline.stage.text_tables import markdown
from pipeline.whole import load_parameters

COLUMNS = ["stage", "hours", "core hours", "GPU hours", "stored", "euros", "decided by"]


def estimate(images: int, *, megapixels: float, cores: int, gpus: int, gpu: str, euros: float | None, questions: int) -> list[str]:
    """Lines for people.

    Args:
        megapixels: of a photograph as it comes.
        cores: 0 for those of this machine.
        euros: of an hour of the machine; None: what the measured ones cost.
        questions: queries of the exact search.

    Raises:
        ParameterError: an impossible number, or something that was not measured.
    """
    if images < 1 or gpus < 0 or cores < 0 or questions < 0 or megapixels <= 0:
        raise ParameterError("--images is 1 at least, --megapixels above 0, and --cores, --gpus and --questions are not below 0")
    costs = unit_costs()
    machine = Machine(cores or os.cpu_count() or 1, gpus, costs.gpu(gpu) if gpus else None, euros)
    work = workload(load_parameters(), images)
    stages = stage_costs(work, costs, machine, images, megapixels, questions)
    price = machine.price(costs)
    core, gpu_seconds = sum(each.core_seconds for each in stages), sum(each.gpu_seconds for each in stages)
    total = StageCost("total", core, gpu_seconds, sum(each.seconds for each in stages), sum(each.bytes for each in stages), by="")
    return [
        f"{images:,} photographs of {megapixels:g} megapixels; {_described(work)}.",
        f"{_machine(machine, costs)}, {price:.2f} euros an hour.",
        "",
        *markdown(COLUMNS, [_row(each, price) for each in [*stages, total]]).splitlines(),
        "",
        "From measured pieces of work (docs/scale.md), which other processors do in other times. Downloads are not counted.",
        f"Distractors pass without stored maps: {human_bytes(int(stages[1].bytes))} less than the total.",
    ]


def _row(cost: StageCost, price: float) -> list[str]:
    hours = cost.seconds / 3600
    spent = [f"{value / 3600:.2f}" for value in (cost.core_seconds, cost.gpu_seconds)]
    return [cost.stage, f"{hours:.2f}", *spent, human_bytes(int(cost.bytes)) if cost.bytes else "", f"{hours * price:.2f}", cost.by]


def _described(work: Workload) -> str:
    networks = " and ".join(f"{name} ({gigaflops:.2g} GFLOP)" for name, gigaflops in work.gigaflops.items())
    rows = f"{work.rows} × {work.dimensions}" if work.rows > 1 else f"{work.dimensions}"
    codes = f", codes of {work.bits} bits" if work.bits else f", {work.patch_bytes} bytes a patch" if work.patch_bytes else ""
    return f"{work.megapixels:.2g} megapixels stored, {networks}, {work.method} of {rows} dimensions{codes}, {work.index} index"


def _machine(machine: Machine, costs: UnitCosts) -> str:
    cores = f"{machine.cores} {'core' if machine.cores == 1 else 'cores'} of {costs.core}"
    return f"{cores}, {machine.gpus} × {machine.gpu.title}" if machine.gpu else cores
