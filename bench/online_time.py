"""Online time per image from feature map to descriptor (paper 3, fig. 7), split into its steps, against R-MAC; writes reports/online_time.csv."""

import csv
from collections.abc import Callable
from pathlib import Path

import torch

from bench.aggregate import describer
from bench.timing import seconds
from pipeline.aggregation.democratic import aggregate
from pipeline.aggregation.describers.regional_max import RegionalMax
from pipeline.aggregation.describers.selective_features import SelectiveFeatures
from pipeline.aggregation.local_features import pack
from pipeline.aggregation.map_stream import MapBatch
from pipeline.aggregation.normalization import l2
from pipeline.aggregation.params import RmacParameters
from pipeline.aggregation.whitening import PCAWhitening
from pipeline.contracts.tables import replacing

CHANNELS, HEIGHT, WIDTH, ROUNDS = 512, 24, 32, 15
OUTPUT = Path("reports/online_time.csv")


def smooth_maps() -> torch.Tensor:
    """One map (1, 512, 24, 32) whose channels have blobs, so that the masks keep about the shares of real photographs."""
    noise = torch.randn(1, CHANNELS, 4, 5, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(noise, (HEIGHT, WIDTH), mode="bicubic")
    return torch.relu(wide + 0.3 * torch.randn(wide.shape, generator=torch.Generator().manual_seed(1)))


def median_of(work: Callable[[], object]) -> float:
    """Median milliseconds of a work, after one uncounted call."""
    work()
    return 1000 * sorted(seconds(work) for _ in range(ROUNDS))[ROUNDS // 2]


def selective_times(mask: str, length: int) -> tuple[dict[str, float], int]:
    """Milliseconds by step, and how many features the mask keeps."""
    made = describer("triangulation", length, "democratic")
    assert isinstance(made, SelectiveFeatures)
    made.parameters = made.parameters.model_copy(update={"mask": mask})
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


def rmac_time() -> float:
    """Milliseconds of R-MAC with whitened regions."""
    made = RegionalMax("rmac", RmacParameters())
    made.models["regional"] = PCAWhitening(CHANNELS).fit(torch.rand(2 * CHANNELS, CHANNELS))
    batch = MapBatch([smooth_maps()])
    return median_of(lambda: made.describe(batch))


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    baseline = rmac_time()
    rows = [("R-MAC, 512", "R-MAC", baseline)]
    print(f"R-MAC, 512: {baseline:.2f} ms an image on one core")
    for length in (512, 1024, 4096):
        for mask in ("none", "sum", "max"):
            times, kept = selective_times(mask, length)
            system = f"{mask.upper() if mask != 'none' else 'no mask'}, {length}"
            rows += [(system, step, taken) for step, taken in times.items()]
            split = ", ".join(f"{step} {taken:.2f}" for step, taken in times.items())
            print(f"{system}: {sum(times.values()):.2f} ms ({split}), {kept} features, {sum(times.values()) / baseline:.2f} times R-MAC", flush=True)
    with replacing(OUTPUT) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("system", "step", "milliseconds"))
        writer.writerows((system, step, f"{taken:.3f}") for system, step, taken in rows)
    print(f"{OUTPUT}: shown in the report; `retrieval repro` renews it")


if __name__ == "__main__":
    main()
