"""Online time per image from feature map to descriptor (paper 3, fig. 7), split into its steps, against R-MAC; writes reports/online_time.csv."""

from collections.abc import Callable
from pathlib import Path

import torch

from bench.aggregate import CHANNELS, describer, smooth_maps
from bench.timing import seconds
from pipeline.aggregation.democratic import aggregate
from pipeline.aggregation.describers.regional_max import RegionalMax
from pipeline.aggregation.local_features import pack
from pipeline.aggregation.params import RmacParameters
from pipeline.maps.stream import MapBatch
from pipeline.projections.normalization import l2
from pipeline.projections.whitening import PCAWhitening
from pipeline.stage.text_tables import write_csv

ROUNDS = 15
OUTPUT = Path("reports/online_time.csv")


def median_of(work: Callable[[], object]) -> float:
    """Median milliseconds of a work, after one uncounted call."""
    work()
    return 1000 * sorted(seconds(work) for _ in range(ROUNDS))[ROUNDS // 2]


def selective_times(mask: str, length: int) -> tuple[dict[str, float], int]:
    """Milliseconds by step, and how many features the mask keeps."""
    made = describer("triangulation", length, "democratic", mask)
    maps = smooth_maps()
    features, counts = pack(maps, made.select(maps))
    reduced = made.reduce(features)
    embedded = made.models["embedding"].transform(reduced)
    pooled = l2(aggregate(embedded, "democratic", counts))
    times = {
        "mask": median_of(lambda: pack(maps, made.select(maps))),
        "embed": median_of(lambda: made.models["embedding"].transform(made.reduce(features))),
        "aggregate": median_of(lambda: l2(aggregate(embedded, "democratic", counts))),
        "post-process": median_of(lambda: made.finish(pooled)),
    }
    return times, counts[0]


def rmac() -> Callable[[], object]:
    """R-MAC with whitened regions of one image."""
    made = RegionalMax("rmac", RmacParameters())
    made.models["regional"] = PCAWhitening(CHANNELS).fit(torch.rand(2 * CHANNELS, CHANNELS))
    batch = MapBatch([smooth_maps()])
    return lambda: made.describe(batch)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    baseline = rmac()
    rows: list[tuple[int, str, str, float]] = []
    for length in (512, 1024, 4096):
        rmac_time = median_of(baseline)
        rows.append((length, "R-MAC, 512", "R-MAC", rmac_time))
        for mask in ("none", "sum", "max"):
            times, kept = selective_times(mask, length)
            system = mask.upper() if mask != "none" else "no mask"
            rows += [(length, system, step, taken) for step, taken in times.items()]
            split = ", ".join(f"{step} {taken:.2f}" for step, taken in times.items())
            total = sum(times.values())
            print(f"{system}, {length}: {total:.2f} ms ({split}), {kept} features, {total / rmac_time:.2f} times R-MAC", flush=True)
    headings = ("dimensions", "system", "step", "milliseconds")
    write_csv(OUTPUT, headings, (dict(zip(headings, (*row[:3], f"{row[3]:.3f}"), strict=True)) for row in rows))
    print(f"{OUTPUT} is written; run `retrieval repro` to renew the report")


if __name__ == "__main__":
    main()
