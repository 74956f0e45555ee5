"""Stage patch_similarity: how alike a patch and changed views of it are, by what is searched (paper 1, §4.1, fig. 4)."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.aggregation.describers.multi_resolution_patches import pooled_patches
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.patches import patch_count
from pipeline.contracts.images.image_shards import KIND, read_images, read_sizes
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.progress import Progress
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.imaging.images import decode
from pipeline.networks.registry import load_from_folder
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import write_json
from pipeline.studies.params import PatchStudyParameters
from pipeline.studies.views import SMALLEST, Pixels, Views, draw_views, side_of_square

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `patch_study` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    parameters = load_section(PatchStudyParameters, f"patch_study.{benchmark}")
    choice = load_section(NetworkChoice, "network")
    images = places.images(parameters.dataset)
    views = draw(images, parameters)
    if len({view.shown for view in views}) < 2:
        log.warning("%s has no database images of two instances that are large enough for patch_study.scales; nothing is compared.", images)
        views = []
    with hold(choose_device()) as device, torch.inference_mode():
        network = load_from_folder(places.network(choice.name), choice.layers, choice.pooled)
        most = max(parameters.levels, parameters.query_levels)
        extract = ExtractParameters(patch_levels=most, patch_sides=(parameters.side,), storage="float32")
        study = compare(views, FeatureExtractor(network, extract, device), parameters) if views else {"squares": 0}
    output = places.study("patch_similarity", benchmark)
    write_json(output, study)
    log.info("%s: %d squares, each seen at %d scales and %d shifts.", output, len(views), len(parameters.scales), len(parameters.shifts))
    return Produced((output,), len(views), "squares")


def draw(images: Path, parameters: PatchStudyParameters) -> list[Views]:
    """Squares of database images that are large enough, of as many images as there are."""
    random = np.random.default_rng(parameters.seed)
    shown = {
        row.image_id: row.instance or row.image_id for row in read_catalogue(images / places.CATALOGUE) if row.role == "database" and row.readable
    }
    shards = load_manifest(images, KIND).paths(images)
    sizes = {image.image_id: (image.width, image.height) for path in shards for image in read_sizes(path) if image.image_id in shown}
    fitting = [name for name, size in sorted(sizes.items()) if side_of_square(*size, parameters.scales, parameters.shifts) >= SMALLEST]
    chosen = set(random.permutation(fitting)[: parameters.patches].tolist())
    each = -(-parameters.patches // max(len(chosen), 1))
    views = [
        draw_views(shown[stored.image_id], decode(stored.bytes), parameters.scales, parameters.shifts, random)
        for path in shards
        for stored in read_images(path, chosen)
        for _ in range(each)
    ]
    return views[: parameters.patches]


def compare(views: list[Views], extractor: FeatureExtractor, parameters: PatchStudyParameters) -> dict[str, Any]:
    """Mean similarities, by what is searched: the cosine of the best reference patch, averaged over the patches of the square.

    `unrelated` is the same between a square and the next one of another instance: a method that raises both alike tells nothing apart.
    """
    with Progress("patch similarity", len(views), "squares") as progress:
        described = []
        for view in views:
            described.append([_describe(pixels, extractor) for pixels in (view.square, *view.scaled, *view.shifted)])
            progress.advance(1)
    queries = torch.stack([rows[0] for rows in described])
    references = torch.stack([torch.stack(rows[1:]) for rows in described])
    others = unrelated_squares([view.shown for view in views])
    variants = {name: similarities(queries, references, others, *levels, len(parameters.scales)) for name, levels in _variants(parameters)}
    return {"squares": len(views), "scales": list(parameters.scales), "shifts": list(parameters.shifts), "variants": variants}


def _variants(parameters: PatchStudyParameters) -> Iterator[tuple[str, tuple[int, int]]]:
    """Levels of the query and of the reference by name."""
    for searched in (1, parameters.levels):
        for jittered in (1, parameters.query_levels):
            words = [*(["multi-resolution"] if searched > 1 else []), *(["jittering"] if jittered > 1 else [])]
            yield " and ".join(words) or "neither", (jittered, searched)


def unrelated_squares(shown: Sequence[str]) -> list[int]:
    """For each square the next one, around the end, of an image that shows something else."""
    count = len(shown)
    return [next(other % count for other in range(index + 1, index + count) if shown[other % count] != shown[index]) for index in range(count)]


def similarities(queries: torch.Tensor, references: torch.Tensor, others: Sequence[int], jittered: int, searched: int, scales: int) -> dict[str, Any]:
    """Of squares (N, P, D) and their views (N, V, P, D), the scaled ones first; `others` are places of unrelated squares."""
    own, seen = queries[:, : patch_count(jittered)], references[:, :, : patch_count(searched)]
    values = torch.stack([nearest(square, view) for square, view in zip(own, seen, strict=True)])
    unrelated = torch.cat([nearest(square, queries[other : other + 1, : patch_count(searched)]) for square, other in zip(own, others, strict=True)])
    means, errors = values.mean(dim=0).tolist(), (values.std(dim=0) / len(values) ** 0.5).tolist()
    return {
        "scale": means[:scales],
        "shift": means[scales:],
        "scale_error": errors[:scales],
        "shift_error": errors[scales:],
        "unrelated": float(unrelated.mean()),
    }


def nearest(square: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """The largest product of each patch of a square (P, D) with those of each view (V, M, D), averaged over the patches: (V,)."""
    return torch.einsum("pd,vmd->vpm", square, views).amax(dim=2).mean(dim=1)


def _describe(pixels: Pixels, extractor: FeatureExtractor) -> torch.Tensor:
    """(P, D), l2-normalised, of the patches of one picture."""
    height, width = pixels.shape[:2]
    maps = extractor.maps(LoadedBatch(PlannedBatch(Path(), ("",), width, height), pixels[None].copy()))[0]
    form = extractor.form
    if form is None:
        raise ValueError("the extractor gives maps, not patches")
    return pooled_patches(maps, form, 1)[0].cpu()


if __name__ == "__main__":
    run_stage(main)
