"""Stage region_precision: the share of regions that lie inside the queries' boxes, squares against clusters (paper 2, §3.2, figs. 4 to 7)."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.acquisition.params import load_dataset
from pipeline.aggregation.describers.activation_clusters import Clusters, colour_clusters, feature_clusters, learn_local
from pipeline.aggregation.regions import rmac_regions
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.feature_shards import KIND, FeatureFacts
from pipeline.contracts.held_out import held_out_ids
from pipeline.contracts.running.device import choose_device, hold
from pipeline.contracts.running.progress import Progress
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.imaging.images import decode
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.maps.pictures import Picture, Pixels
from pipeline.maps.stream import stream_maps
from pipeline.networks.registry import load_from_folder
from pipeline.projections.whitening import PCA
from pipeline.stage import places
from pipeline.stage.catalogue import Box, read_catalogue
from pipeline.stage.entry import run_stage
from pipeline.stage.manifest import load_manifest
from pipeline.stage.parameters import load_section
from pipeline.stage.run_record import Produced
from pipeline.stage.tables import write_json
from pipeline.studies.params import RegionStudyParameters
from pipeline.studies.sampling import evenly, thumbnail

log = logging.getLogger(__name__)
THRESHOLDS = tuple(index / 20 for index in range(21))


@dataclass(frozen=True)
class Whole:
    """A query's whole photograph as the network sees it, and its box in these pixels."""

    image_id: str
    pixels: Pixels
    box: Box


def main(arguments: list[str]) -> Produced:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", help="a name under `region_study` of params.yaml")
    benchmark = parser.parse_args(arguments).benchmark
    parameters = load_section(RegionStudyParameters, f"region_study.{benchmark}")
    choice = load_section(NetworkChoice, "network")
    output = places.study("regions", benchmark)
    study: dict[str, Any] = {"queries": 0}
    wholes = list(whole_queries(parameters.dataset, load_section(ResizeParameters, "resize"), parameters.queries))
    if wholes:
        with hold(choose_device()) as device, torch.inference_mode():
            local = _learned(parameters, device)
            if local is not None:
                network = load_from_folder(places.network(choice.name), choice.layers, choice.pooled)
                study = compare(wholes, FeatureExtractor(network, local[1], device), local[0], parameters)
    write_json(output, study)
    told = ", ".join(f"{way} {100 * values['mean']:.0f} %" for way, values in study.get("ways", {}).items())
    log.info("%s: mean precision of the regions of %d queries with a box: %s.", output, study["queries"], told or "nothing to compare")
    return Produced((output,), study["queries"], "queries")


def whole_queries(dataset: str, resize: ResizeParameters, count: int) -> Iterator[Whole]:
    """The queries' photographs, not cropped, at most `count` of them, evenly spread."""
    source, raw = load_dataset(dataset), places.raw(dataset)
    with_box = [photograph.image_id for photograph in source.photographs(raw) if photograph.role == "query" and photograph.box is not None]
    chosen = set(evenly(with_box, count))
    for photograph in source.photographs(raw) if chosen else ():
        if photograph.image_id in chosen and photograph.box is not None:
            _, stored = prepare(photograph, resize.model_copy(update={"query_crop": "none"}))
            if stored is not None:
                x0, y0, x1, y1 = (stored.scale * corner for corner in photograph.box)
                yield Whole(photograph.image_id, decode(stored.bytes), (x0, y0, x1, y1))


def _learned(parameters: RegionStudyParameters, device: torch.device) -> tuple[PCA, ExtractParameters] | None:
    """The components of the held-out set's local features, and how these were extracted; None where they are of patches, or there are none."""
    features = places.features(parameters.held_out)
    ids, _ = held_out_ids(read_catalogue(places.images(parameters.held_out) / places.CATALOGUE))
    extract = FeatureFacts.of(load_manifest(features, KIND)).extract
    if not ids or extract.patch_levels:
        return None
    chosen = set(evenly(sorted(ids), parameters.held_out_images))
    return learn_local(lambda: (maps for _, maps in stream_maps(features, chosen, device)), None), extract


def compare(wholes: list[Whole], extractor: FeatureExtractor, components: PCA, parameters: RegionStudyParameters) -> dict[str, Any]:
    """Shares of regions by way of making them: those whose precision reaches each threshold, and the mean precision.

    Args:
        components: all of them, of local features.
    """
    local = components.first(parameters.clusters.local_dimensions)
    precisions: dict[str, list[torch.Tensor]] = {}
    pictures = []
    stride = extractor.network.stride / extractor.parameters.scales[0]
    shown = set(evenly([whole.image_id for whole in wholes], parameters.pictures))
    with Progress("region precision", len(wholes), "queries") as progress:
        for whole in wholes:
            height, width = whole.pixels.shape[:2]
            maps = extractor.maps(LoadedBatch(PlannedBatch(Path(), ("",), width, height), whole.pixels[None].copy()))[0]
            inside = shares_inside(whole.box, width, height, stride, maps.shape[2], maps.shape[3])
            precisions.setdefault("squares", []).append(square_precisions(inside))
            for way, clusters in _ways(maps, whole, local, parameters):
                precisions.setdefault(way, []).append(cluster_precisions(inside, clusters))
            if whole.image_id in shown:
                pictures.append(_picture(whole, maps, local, parameters) | {"components": component_maps(maps, components, parameters.components)})
            progress.advance()
    ways = {}
    for way, found in precisions.items():
        values = torch.cat(found)
        reached = [float((values >= threshold - 1e-6).double().mean()) for threshold in THRESHOLDS]
        ways[way] = {"regions": len(values), "mean": float(values.double().mean()), "reached": reached}
    return {"queries": len(wholes), "thresholds": list(THRESHOLDS), "ways": ways, "pictures": pictures}


def shares_inside(box: Box, image_width: int, image_height: int, stride: float, height: int, width: int) -> torch.Tensor:
    """(H, W): the share of each cell's area that lies inside a box in pixels; cells are `stride` pixels wide, as far as the image goes."""
    rows = _shares(box[1], box[3], image_height, stride, height)
    columns = _shares(box[0], box[2], image_width, stride, width)
    return rows[:, None] * columns[None]


def _shares(low: float, high: float, side: int, stride: float, count: int) -> torch.Tensor:
    starts = torch.arange(count) * stride
    ends = (starts + stride).clamp(max=side)
    return (ends.clamp(max=high) - starts.clamp(min=low)).clamp(min=0) / (ends - starts).clamp(min=1e-6)


def square_precisions(inside: torch.Tensor) -> torch.Tensor:
    """|region ∩ box| / |region| (equation 1) of R-MAC's squares, from the cells' shares (H, W)."""
    return torch.stack([inside[y : y + h, x : x + w].mean() for y, x, h, w in rmac_regions(*inside.shape).tolist()])


def cluster_precisions(inside: torch.Tensor, clusters: Clusters) -> torch.Tensor:
    """The same of one image's clusters; empty ones are left out."""
    found = []
    for labels, count in clusters:
        own = labels[0].cpu()
        cells = own.bincount(minlength=count)
        sums = torch.zeros(count).scatter_add_(0, own, inside.flatten())
        found.append((sums / cells)[cells > 0])
    return torch.cat(found)


def _ways(maps: torch.Tensor, whole: Whole, local: PCA, parameters: RegionStudyParameters) -> Iterator[tuple[str, Clusters]]:
    clusters = parameters.clusters
    if clusters.feature_counts:
        yield "clusters", feature_clusters(maps, local, clusters)
        yield "clusters with a spatial term", feature_clusters(maps, local, _spatial(parameters))
    if clusters.colour_counts:
        yield "clusters of colours", colour_clusters([Picture(whole.pixels)], maps, clusters)


def _spatial(parameters: RegionStudyParameters, **changes: Any) -> Any:
    return parameters.clusters.model_copy(update={"spatial_scale": parameters.spatial_scale, **changes})


def component_maps(maps: torch.Tensor, components: PCA, wanted: Sequence[int]) -> dict[str, list[list[float]]]:
    """The values (H, W) of single components of an image's local features (fig. 5), each brought to 0…1, by their number from 1."""
    values = components.transform(maps[0].flatten(1).T)
    found = {}
    for number in wanted:
        if number <= values.shape[1]:
            own = values[:, number - 1]
            shares = (own - own.min()) / (own.max() - own.min()).clamp(min=1e-12)
            found[str(number)] = shares.reshape(maps.shape[2:]).cpu().numpy().round(3).tolist()
    return found


def _picture(whole: Whole, maps: torch.Tensor, local: PCA, parameters: RegionStudyParameters) -> dict[str, Any]:
    """What the report draws: a thumbnail, the box in shares of its sides, norms and labels (H, W) of clusters without and with the spatial term."""
    norms = maps[0].norm(dim=0)
    counts = (parameters.shown,)
    plain = parameters.clusters.model_copy(update={"feature_counts": counts})
    labels = [feature_clusters(maps, local, each)[0][0] for each in (plain, _spatial(parameters, feature_counts=counts))]
    height, width = whole.pixels.shape[:2]
    shares = np.array(whole.box) / (width, height, width, height)
    return {
        "image_id": whole.image_id,
        "jpeg": thumbnail(whole.pixels, parameters.thumbnail),
        "box": shares.clip(0, 1).tolist(),
        "norms": (norms / norms.max().clamp(min=1e-12)).cpu().numpy().round(3).tolist(),
        "clusters": labels[0][0].reshape(norms.shape).tolist(),
        "spatial_clusters": labels[1][0].reshape(norms.shape).tolist(),
    }


if __name__ == "__main__":
    run_stage(main)
