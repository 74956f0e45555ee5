"""Unit costs of this machine's processor, in seconds of one core: what `retrieval estimate` multiplies, and docs/scale.md shows.

    python -m bench.costs            print them
    python -m bench.costs --write    and put them into pipeline/estimating/unit_costs.json; its GPUs and prices stay

Photographs are those of RETRIEVAL_DATA where it is set. Every time is processor time, so that other loads beside it change little.
"""

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.optimize import nnls

from bench.evaluation import exact_map, made, product, unit
from bench.extraction import weights
from bench.million import BEFORE, SIDE, picture, run
from bench.pictures import photographs, store
from bench.throughput import NETWORKS
from pipeline.acquisition.sources import Photograph
from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.params import METHODS
from pipeline.contracts.executors.executing import Place, untold
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.features.feature_shards import KIND as FEATURES
from pipeline.contracts.features.feature_shards import feature_columns, feature_writer
from pipeline.estimating.unit_costs import FILE, unit_costs
from pipeline.estimating.workload import counted_network
from pipeline.extraction.bucket_tasks import BucketTask, bucket_tasks
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.known_values import NOTHING
from pipeline.extraction.loading import LoadedBatch, load_batches
from pipeline.extraction.planning import PlannedBatch, plan_batches
from pipeline.extraction.shards import ShardWriter
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.maps.stream import stream_maps
from pipeline.networks.registry import load_network
from pipeline.search.candidate_index import build_candidate_index
from pipeline.search.collection_params import CollectionParameters
from pipeline.search.thumbnails import thumbnail
from pipeline.stage.manifest import load_manifest
from pipeline.stage.run_record import record_path
from pipeline.stage.tables import read_ids, write_json
from tests.params_file import written

READ, STORED = (0.5, 2.0, 8.0), (384, 1024)
"""Megapixels of photographs as they come, and pixels of the longer side that they are stored with."""
MAP_SIDE, IMAGES = 320, 24
QUICK = ("squeezenet1_1", "efficientnet_lite0", "alexnet")
"""Networks whose arithmetic is short enough to tell what surrounds it."""
ROWS, DIMENSIONS, LEARNED = 20_000, 512, 20_000
SMALL = {
    "datasets.gallery": {"source": "gallery", "instances": 16, "references": 2, "queries": 1, "held_out": 2},
    "benchmarks.gallery.kept_back": 0.0,
    "aggregate.patches.dimensions": 128,
    "aggregate.bag_of_words.words": 200,
}
*MAPS, LEARN, _ = BEFORE
LEFT_OUT = ("region_descriptor", "class_token")
"""Methods that need a network of their own: one that is fine-tuned, or one with a class token. `retrieval estimate` takes others for them."""


def processor(work: Callable[[], object], least: float = 1.0) -> float:
    """Processor seconds of one call, of as many as take `least` seconds after a first that is not counted."""
    work()
    calls, start = 0, time.process_time()
    while calls < 2 or time.process_time() - start < least:
        work()
        calls += 1
    return (time.process_time() - start) / calls


def resize_costs() -> dict[str, float]:
    """Fitted to photographs of three sizes, stored in two sizes and encodings."""
    rows, seconds, sizes = [], [], {}
    for megapixels in READ:
        side = round((megapixels * 1e6 / 0.75) ** 0.5)
        encoded = [_jpeg(image) for _, image in photographs(4, side)]
        for pixels in STORED:
            for encoding in ("png", "jpeg"):
                parameters = ResizeParameters(pixels=pixels, encoding=encoding)
                made_of = [prepare(Photograph(str(number), "", data), parameters) for number, data in enumerate(encoded)]
                kept = [image for _, image in made_of if image]
                stored = sum(image.width * image.height for image in kept) / len(kept) / 1e6
                read = sum(row.width * row.height for row, _ in made_of) / len(made_of) / 1e6
                sizes[encoding] = sum(len(image.bytes) for image in kept) / len(kept) / stored
                parts = [1.0, read, stored if encoding == "png" else 0.0, stored if encoding == "jpeg" else 0.0]
                taken = processor(lambda: [prepare(Photograph("", "", data), parameters) for data in encoded]) / len(encoded)  # noqa: B023
                rows.append([value / taken for value in parts])
                seconds.append(1.0)
    small = [picture(number) for number in range(64)]
    parameters = ResizeParameters(pixels=SIDE)
    taken = processor(lambda: [prepare(Photograph("", "", data), parameters) for data in small]) / len(small)
    rows.append([value / taken for value in (1.0, SIDE**2 / 1e6, SIDE**2 / 1e6, 0.0)])
    fitted, _ = nnls(np.array(rows), np.array([*seconds, 1.0]))
    named = dict(zip(("image", "read_megapixel", "png_megapixel", "jpeg_megapixel"), map(float, fitted), strict=True))
    return named | {"png_bytes": sizes["png"], "jpeg_bytes": sizes["jpeg"]}


def _jpeg(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def network_costs(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """(gigaflops a second by architecture, what extraction adds) from the arithmetic alone and from shards to shards."""
    ids = store(folder / "images", IMAGES, MAP_SIDE)
    batches, tasks = plan_batches(folder / "images", set(ids)), bucket_tasks(folder / "images", ["database"])
    pixels = sum(batch.width * batch.height * len(batch.image_ids) for batch in batches) / len(ids)
    rates, around, writing, compressed = {}, list[float](), list[float](), list[float]()
    for name in NETWORKS:
        extractor = FeatureExtractor(load_network(name, weights(name)), ExtractParameters(), torch.device("cpu"))
        _, gigaflops = counted_network(name)
        alone = sum(_arithmetic(extractor, batch) * len(batch.image_ids) for batch in batches) / len(ids)
        rates[name] = gigaflops * pixels / 1e6 / alone
        if name not in QUICK:
            continue
        each = processor(lambda: _extracted(extractor, folder, tasks)) / len(ids)  # noqa: B023
        seconds, share, values = _writing(extractor, folder, batches)
        around.append(max(0.0, each - alone - seconds * values / 1e6 / len(ids)))
        writing.append(seconds)
        compressed.append(share)
    rates["other"] = float(np.median(list(rates.values())))
    measured = {"image": around, "million_values": writing, "compressed": compressed}
    return rates, {name: float(np.median(values)) for name, values in measured.items()}


def _writing(extractor: FeatureExtractor, folder: Path, batches: list[PlannedBatch]) -> tuple[float, float, int]:
    """(processor seconds for a million values, bytes over those of float16, values) of writing the maps of all batches."""
    features = [extractor.features(batch) for batch in load_batches(batches, 1)]
    values = sum(maps.size for batch in features for maps in batch.maps)
    path = folder / "written.parquet"

    def write() -> None:
        with feature_writer(path, "float16", grid="") as writer:
            for batch in features:
                writer.write(feature_columns(batch, "float16"))

    return processor(write) / values * 1e6, path.stat().st_size / values / 2, values


def _arithmetic(extractor: FeatureExtractor, plan: PlannedBatch) -> float:
    """Processor seconds of an image."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, plan.height, plan.width, 3), np.uint8)
    batch = LoadedBatch(PlannedBatch(Path(), ("x",), plan.width, plan.height), pixels)
    with torch.inference_mode():
        return processor(lambda: extractor.maps(batch))


def _extracted(extractor: FeatureExtractor, folder: Path, tasks: list[BucketTask]) -> None:
    """From image shards to feature shards."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        writer = ShardWriter(extractor, Place(Path(place), "cpu", 1, untold), NOTHING, {})
        for task in tasks:
            writer.write(task)


def describe_costs(folder: Path) -> dict[str, float]:
    """Processor seconds for a million values of maps, by method, each with its default parameters on the embedded museum."""
    return {method: _describe_cost(folder / ("patches" if method == "patches" else "maps"), method) for method in METHODS if method not in LEFT_OUT}


def _describe_cost(folder: Path, method: str) -> float:
    patches = {"extract.patch_levels": 4} if method == "patches" else {}
    changes = SMALL | {"aggregate.method": method} | patches
    folder.mkdir(exist_ok=True)
    written(folder, changes)
    for step in MAPS:
        run(folder, *step)
    record_path(folder / "data" / LEARN[2]).unlink(missing_ok=True)  # of another method
    run(folder, *LEARN)
    with contextlib.chdir(folder), torch.inference_mode():
        describer, _ = load_describer(Path("data/models/gallery"), torch.device("cpu"))
        features, images = Path("data/features/gallery"), Path("data/images/gallery")
        ids = [name for path in load_manifest(features, FEATURES).paths(features) for name in read_ids(path, FEATURES)][:IMAGES]
        batches = list(stream_maps(features, set(ids), torch.device("cpu"), images if describer.parameters.needs_pictures else None))
        values = sum(maps.numel() for _, batch in batches for maps in batch.scales)
        return processor(lambda: [describer.describe_each(batch) for _, batch in batches]) / values * 1e6


def product_cost() -> float:
    """Processor seconds for a million products of the exact search: a pass with selection and counts, the making of blocks left out."""
    images, queries = 65536, 500
    making = processor(lambda: sum(rows.size for _, rows in made(images, DIMENSIONS)()))
    whole = processor(lambda: exact_map(made(images, DIMENSIONS), images, DIMENSIONS))
    alone = processor(lambda: product(made(images, DIMENSIONS), images, DIMENSIONS))
    print(f"one pass: {(whole - making) / alone:.2f} times the product alone")
    return (whole - making) / (images * queries * DIMENSIONS) * 1e6


def collection_costs(gigaflops: float) -> dict[str, Any]:
    """Thumbnails, and a row of each kind of index, its comparison with inverted lists left out.

    Args:
        gigaflops: a second of other networks, by which that comparison is estimated.
    """
    images = [image for _, image in photographs(8, 1024)]
    size = float(np.mean([len(thumbnail(image, 240)) for image in images]))
    each = processor(lambda: [thumbnail(image, 240) for image in images]) / len(images)
    generator = np.random.default_rng(0)
    rows, held_out = unit(generator, ROWS, DIMENSIONS), unit(generator, LEARNED, DIMENSIONS)
    costs = {"flat": 0.0}
    for kind in ("hnsw", "scalar", "ivf_pq"):
        parameters = CollectionParameters(index=kind)
        index = build_candidate_index(kind, parameters, rows[:1], held_out)
        compared = 2e-9 * DIMENSIONS * getattr(index, "nlist", 0) / gigaflops
        costs[kind] = max(0.0, _added(index, rows[1:]) - compared)
    codes = np.packbits(rows > 0, axis=1)
    coded = build_candidate_index("multi_index", CollectionParameters(index="multi_index"), codes[:1], held_out)
    costs["multi_index"] = _added(coded, codes[1:])
    return {"thumbnail": each, "thumbnail_bytes": size, "row": costs}


def _added(index: Any, rows: Any) -> float:
    start = time.process_time()
    index.add(np.ascontiguousarray(rows))
    return (time.process_time() - start) / len(rows)


def main() -> None:
    import faiss

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "RETRIEVAL_WORKERS": "1"}
    with tempfile.TemporaryDirectory(prefix="costs-") as place:
        gigaflops, extract = network_costs(Path(place))
        found = {
            "core": _core(),
            "resize": resize_costs(),
            "gigaflops": gigaflops,
            "extract": extract,
            "describe": describe_costs(Path(place)),
            "product": product_cost(),
            "collection": collection_costs(gigaflops["other"]),
        }
    print(yaml.safe_dump(found, sort_keys=False))
    if "--write" in sys.argv[1:]:
        kept = unit_costs().model_dump(include={"euros", "gpus"})
        write_json(FILE, _rounded(found) | kept)


def _core() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "")
    return f"{name} {'with' if 'avx512f' in flags else 'without'} AVX-512"


def _rounded(value: Any) -> Any:
    """Numbers with three digits."""
    if isinstance(value, dict):
        return {name: _rounded(own) for name, own in value.items()}
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
