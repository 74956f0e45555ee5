"""Seconds and bytes of every stage that grows with the images: measured unit costs times the workload of params.yaml.

Descriptors are counted on the cores where there are GPUs as well: what these take for them was not measured, and is less.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.estimating.unit_costs import GpuCosts, UnitCosts
from pipeline.estimating.workload import Workload
from pipeline.stage.errors import ParameterError

ROW_BYTES = 40
"""Of an image's id and what surrounds it in a table."""
OTHER = "other"
AS_MUCH_AS = {"super_global": "clusters", "class_token": "gem", "region_descriptor": "rmac", "salad": "clusters"}
"""Methods that were not measured, by measured ones that cost no less."""


@dataclass(frozen=True)
class Machine:
    """What the stages run on.

    Attributes:
        cores: of the unit costs' processor.
        gpus: of the kind `gpu`.
        euros: of an hour; None: of the unit costs' cores and GPUs.
    """

    cores: int
    gpus: int = 0
    gpu: GpuCosts | None = None
    euros: float | None = None

    def price(self, costs: UnitCosts) -> float:
        """Euros of an hour."""
        if self.euros is not None:
            return self.euros
        return self.gpus * self.gpu.euros if self.gpu else self.cores * costs.euros


@dataclass(frozen=True)
class StageCost:
    """Of one stage for all images.

    Attributes:
        core_seconds: on the processor, however many cores share them.
        gpu_seconds: on the GPU, however many share them.
        seconds: on the machine.
        bytes: that it leaves on disk.
        by: what decides the seconds.
    """

    stage: str
    core_seconds: float
    gpu_seconds: float
    seconds: float
    bytes: float
    by: str


def stage_costs(work: Workload, costs: UnitCosts, machine: Machine, images: int, megapixels: float, questions: int) -> list[StageCost]:
    """In the order of the stages.

    Args:
        megapixels: of a photograph as it comes.
        questions: queries of the exact search.
    """
    row = costs.collection.row.get(work.index)
    if row is None:
        raise ParameterError(f"collection.index: {work.index} was not measured; there are: {', '.join(costs.collection.row)}")
    collection_bytes = costs.collection.thumbnail_bytes + work.row_bytes * (1 if work.index == "flat" else 1.25) + 2 * ROW_BYTES
    stages = [
        _resize(work, costs, machine, megapixels),
        _extract(work, costs, machine),
        _on_cores("aggregate", _describe_cost(work, costs), machine, work.descriptor_bytes + ROW_BYTES),
    ]
    if work.bits:
        arithmetic = 2e-9 * work.dimensions * work.bits / _rate(costs.gigaflops, OTHER)
        stages.append(_on_cores("hash", arithmetic, machine, work.bits / 8 + ROW_BYTES))
    products = questions * work.products(images) * (work.bits / 64 if work.bits else work.dimensions)
    stages.append(_on_cores("search", products * costs.product / 1e6, machine, 0.0))
    indexed = row * work.rows * work.dimensions / 512 + 2e-9 * work.lists * work.dimensions / _rate(costs.gigaflops, OTHER)
    stages.append(_on_cores("collection", costs.collection.thumbnail + indexed, machine, collection_bytes))
    return [_times(each, images) for each in stages]


def _resize(work: Workload, costs: UnitCosts, machine: Machine, megapixels: float) -> StageCost:
    own = costs.resize
    match work.encoding:
        case "png":
            stored, size = own.png_megapixel, own.png_bytes
        case "jpeg":
            stored, size = own.jpeg_megapixel, own.jpeg_bytes
        case _:
            raise ParameterError(f"resize.encoding: {work.encoding!r} is unknown; there are: png, jpeg")
    seconds = own.image + own.read_megapixel * megapixels + stored * work.megapixels
    return _on_cores("resize", seconds, machine, size * work.megapixels + 2 * ROW_BYTES)


def _extract(work: Workload, costs: UnitCosts, machine: Machine) -> StageCost:
    """The network on the GPUs while the cores read and a thread of each GPU writes, or all of it on the cores."""
    size = work.values * work.value_bytes * costs.extract.compressed + ROW_BYTES
    around = costs.extract.image + work.values / 1e6 * costs.extract.million_values
    if machine.gpu is None:
        arithmetic = sum(each / _rate(costs.gigaflops, name) for name, each in work.gigaflops.items())
        return _on_cores("extract", arithmetic + around, machine, size)
    arithmetic = sum(each / machine.gpu.gigaflops.get(name, machine.gpu.gigaflops[OTHER])[work.precision] for name, each in work.gigaflops.items())
    ways = {
        "the network's arithmetic": arithmetic / machine.gpus,
        "the thread that feeds and writes": machine.gpu.image / machine.gpus,
        "reading and compressing": around / machine.cores,
    }
    by = max(ways, key=lambda way: ways[way])
    return StageCost("extract", around, arithmetic, ways[by], size, by)


def _describe_cost(work: Workload, costs: UnitCosts) -> float:
    """Seconds of a core."""
    method = AS_MUCH_AS.get(work.method, work.method)
    if method not in costs.describe:
        raise ParameterError(f"aggregate.method: {method} was not measured; there are: {', '.join(costs.describe)}")
    return work.values / 1e6 * costs.describe[method]


def _on_cores(stage: str, core_seconds: float, machine: Machine, size: float) -> StageCost:
    return StageCost(stage, core_seconds, 0.0, core_seconds / machine.cores, size, "the cores")


def _times(cost: StageCost, images: int) -> StageCost:
    return StageCost(cost.stage, cost.core_seconds * images, cost.gpu_seconds * images, cost.seconds * images, cost.bytes * images, cost.by)


def _rate(gigaflops: Mapping[str, float], architecture: str) -> float:
    return gigaflops.get(architecture, gigaflops[OTHER])
