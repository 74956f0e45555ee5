"""Stage masks: how many local features each mask keeps and how alike those are (paper 3, figs. 2 and 3), to reports/masks/BENCHMARK.json."""

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.aggregation.local_features import MASKS, pack, select_locations
from pipeline.contracts.features.feature_shards import KIND, FeatureFacts
from pipeline.contracts.running.device import choose_device, hold
from pipeline.maps.stream import MapBatch, stream_maps
from pipeline.projections.normalization import l2
from pipeline.stage import places
from pipeline.stage.catalogue import read_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import write_json
from pipeline.studies.params import MaskStudyParameters
from pipeline.studies.sampling import evenly

log = logging.getLogger(__name__)
BINS = 40


@dataclass
class MaskStatistics:
    """Sums over images.

    Attributes:
        kept: shares of the locations that are kept.
        near_orthogonal: shares of the pairs of kept features whose cosine is within the limit.
        histogram: (BINS,) of all cosines, from −1 to 1, each image counted as 1.
    """

    kept: list[float] = field(default_factory=list)
    near_orthogonal: list[float] = field(default_factory=list)
    histogram: torch.Tensor = field(default_factory=lambda: torch.zeros(BINS, dtype=torch.float64))

    def add(self, features: torch.Tensor, locations: int, limit: float) -> None:
        """Take the kept features (n, K) of one image."""
        self.kept.append(len(features) / locations)
        if len(features) > 1:
            unit = l2(features)
            rows, columns = torch.triu_indices(len(unit), len(unit), offset=1, device=unit.device)
            cosines = (unit @ unit.T)[rows, columns].clamp(-1, 1)
            self.near_orthogonal.append(float((cosines.abs() <= limit).double().mean()))
            self.histogram += torch.histc(cosines.cpu().double(), BINS, -1, 1) / len(cosines)

    def summary(self) -> dict[str, Any]:
        """Means over the images."""
        pairs = max(len(self.near_orthogonal), 1)
        return {
            "kept": sum(self.kept) / max(len(self.kept), 1),
            "near_orthogonal": sum(self.near_orthogonal) / pairs,
            "histogram": (self.histogram / pairs).tolist(),
        }


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `mask_study` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    parameters = load_section(MaskStudyParameters, f"mask_study.{benchmark}")
    images = places.images(parameters.dataset)
    of_patches = FeatureFacts.of(load_manifest(places.features(parameters.dataset), KIND)).extract.patch_levels > 0
    ids = [row.image_id for row in read_catalogue(images / places.CATALOGUE) if row.role == "database" and row.readable]
    chosen = evenly(ids, 0 if of_patches else parameters.images)  # patches have no locations to mask
    shown = evenly(chosen, parameters.pictures)
    statistics = {mask: MaskStatistics() for mask in MASKS}
    drawn: list[dict[str, Any]] = []
    with hold(choose_device()) as device, torch.inference_mode():
        for image_id, batch in _one_by_one(parameters.dataset, set(chosen), device, images):
            maps, pictures = next(batch.with_pictures())
            masks = {mask: select_locations(mask, maps, pictures) for mask in MASKS}
            for mask, kept in masks.items():
                statistics[mask].add(pack(maps, kept)[0], kept[0].numel(), parameters.near_orthogonal)
            if image_id in shown:
                rows = {mask: ["".join("#" if cell else "." for cell in row) for row in kept[0].tolist()] for mask, kept in masks.items()}
                drawn.append({"image_id": image_id, "masks": rows})
    output = places.study("masks", benchmark)
    summaries = {mask: each.summary() for mask, each in statistics.items()}
    drawn.sort(key=lambda picture: shown.index(picture["image_id"]))
    write_json(output, {"images": len(chosen), "near_orthogonal_limit": parameters.near_orthogonal, "masks": summaries, "pictures": drawn})
    told = ", ".join(f"{mask} {100 * summary['kept']:.0f} %" for mask, summary in summaries.items())
    told = "nothing, the features are of patches" if of_patches else told
    log.info("%s: share of local features kept in %d images: %s.", output, len(chosen), told)
    return Produced((output,), len(chosen), "images")


def _one_by_one(dataset: str, chosen: set[str], device: torch.device, images: Path) -> Iterator[tuple[str, MapBatch]]:
    """Each chosen image with its maps and its picture."""
    for image_ids, batch in stream_maps(places.features(dataset), chosen, device, images):
        for index, image_id in enumerate(image_ids):
            yield image_id, MapBatch([maps[index : index + 1] for maps in batch.scales], [batch.pictures[index]], batch.grids)


if __name__ == "__main__":
    run_stage(main)
