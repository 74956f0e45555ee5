"""What params.yaml asks of each photograph: pixels, arithmetic, values of maps, dimensions, bits, the kind of index."""

from dataclasses import dataclass
from typing import Any

from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.contracts.features.patches import patch_count
from pipeline.feasibility import channels_of, described_dimensions, patch_dimensions
from pipeline.imaging.params import ResizeParameters
from pipeline.networks.params import ConcatenatedSource, NetworkSource
from pipeline.search.candidate_index import wanted_lists
from pipeline.stage.errors import ParameterError
from pipeline.stage.parameters import PARAMS_FILE
from pipeline.whole import Parameters

RATIO = 3 / 4
"""Of a photograph's shorter side to its longer one."""
SIDE = 320
"""Of the image that a network's arithmetic is counted on."""


@dataclass(frozen=True)
class Workload:
    """Of one photograph.

    Attributes:
        megapixels: stored after resizing.
        encoding: png or jpeg.
        architectures: of the network, or of its members.
        gigaflops: of the network, by architecture: 2 for a multiplication with an addition.
        precision: of this arithmetic.
        values: of the maps, or of the patches, that are stored.
        value_bytes: of each.
        method: of the descriptors.
        rows, dimensions: of the descriptors of a photograph.
        bits: of its code; 0 without codes.
        patch_bytes: of a patch that is stored as a code; None where its values are.
        stored_bytes: of a value of a descriptor that is stored; the collection holds 4.
        asked_rows: patches of a query; 1 for whole images.
        shortlist: images whose patches are compared; None for all.
        index: of the collection.
        lists: of an index of inverted lists, each of which a row is compared with.
    """

    megapixels: float
    encoding: str
    gigaflops: dict[str, float]
    precision: str
    values: float
    value_bytes: int
    method: str
    rows: int
    dimensions: int
    bits: int
    index: str
    lists: int = 0
    patch_bytes: int | None = None
    stored_bytes: int = 4
    asked_rows: int = 1
    shortlist: int | None = None

    @property
    def descriptor_bytes(self) -> float:
        """As `aggregate.storage` says, or as codes of patches."""
        return float(self.rows * (self.patch_bytes or self.stored_bytes * self.dimensions))

    @property
    def row_bytes(self) -> float:
        """Of what is compared."""
        return self.bits / 8 if self.bits else float(self.rows * (self.patch_bytes or 4 * self.dimensions))

    def products(self, images: int) -> float:
        """Of vectors, for a query and an image among so many."""
        every = float(self.asked_rows * self.rows)
        return every if self.shortlist is None else 1 + every * min(self.shortlist / images, 1)


def workload(whole: Parameters, images: int) -> Workload:
    """Of a checked params.yaml, for so many images.

    Raises:
        ParameterError: the active network is made by a step of training, whose size is not known before.
    """
    members = _members(whole)
    pixels = _stored_pixels(whole.resize)
    extract, method = whole.extract, whole.aggregate
    counted = [(member.architecture, *counted_network(member.architecture, layers, pooled=whole.network.pooled)) for member, layers in members]
    channels = channels_of(whole.network, whole.networks, str(PARAMS_FILE)) or 0
    stride = max(stride for _, stride, _ in counted)
    if extract.patch_levels:
        from pipeline.extraction.patches import GRID

        seen = _patch_pixels(extract, pixels)
        values = float(patch_count(extract.patch_levels) * channels * len(extract.patch_sides) * GRID**2)
    else:
        seen = pixels * sum(scale**2 for scale in extract.scales)
        values = seen / stride**2 * channels
    gigaflops: dict[str, float] = {}
    for architecture, _, each in counted:
        gigaflops[architecture] = gigaflops.get(architecture, 0.0) + each * seen / 1e6
    bits = 0 if whole.hash.name == "none" else int(whole.hash.parameters.bits)
    rows = patch_count(method.parameters.levels) if method.name == "patches" else 1
    index = "flat" if rows > 1 else whole.collection.kind_for(images, codes=bool(bits))
    patches = patch_dimensions(method.parameters, channels, extract)
    dimensions = described_dimensions(method.parameters, channels) or patches or getattr(method.parameters, "dimensions", None) or channels
    return Workload(
        megapixels=pixels / 1e6,
        encoding=whole.resize.encoding,
        gigaflops=gigaflops,
        precision=extract.precision,
        values=values,
        value_bytes=2 if extract.storage == "float16" else 4,
        method=method.name,
        rows=rows,
        dimensions=int(dimensions),
        bits=bits,
        index=index,
        lists=wanted_lists(whole.collection, images) if index == "ivf_pq" else 0,
        patch_bytes=getattr(method.parameters, "code_bytes", None),
        stored_bytes=4 if whole.aggregate.model_dump(include={"storage"})["storage"] == "float32" else 2,
        asked_rows=patch_count(whole.search.query_levels) if rows > 1 else 1,
        shortlist=whole.search.shortlist if rows > 1 else None,
    )


def _patch_pixels(extract: ExtractParameters, pixels: float) -> float:
    """That pass the network for the patches of a photograph: once for each level, or once for each patch."""
    from pipeline.patches.geometry import level_scale, patches_of

    levels, squares = extract.patch_levels, sum(side**2 for side in extract.patch_sides)
    match extract.patch_way:
        case "crops":
            return float(patch_count(levels) * squares)
        case "response_maps":
            width = (pixels / RATIO) ** 0.5
            patches = patches_of(extract.patch_layout, width, RATIO * width, levels)
            return squares * pixels * sum(level_scale(patches, level, 1) ** 2 for level in range(1, levels + 1))
        case _:
            raise ParameterError(f"extract.patch_way: {extract.patch_way!r} is unknown; there are: response_maps, crops")


def _stored_pixels(resize: ResizeParameters) -> float:
    """Of a photograph of the usual ratio that is larger."""
    side = float(resize.pixels)
    match resize.rule:
        case "longest_side":
            return side**2 * RATIO
        case "shortest_side":
            return side**2 / RATIO
        case "area" | "square":
            return side**2
        case "none":
            raise ParameterError("resize.rule: none stores photographs at their own size, which params.yaml does not say; name another rule")


def _members(whole: Parameters) -> list[tuple[Any, tuple[str, ...]]]:
    """(source, layers) of the active network."""
    name = whole.network.name
    source = whole.networks.get(name)
    if isinstance(source, ConcatenatedSource):
        return [(member, tuple(member.layers)) for member in source.members]
    if isinstance(source, NetworkSource):
        return [(source, tuple(whole.network.layers))]
    raise ParameterError(f"network.name: {name} is made by a step of training; name the network that it starts from")


def counted_network(architecture: str, layers: tuple[str, ...] = (), *, pooled: bool = False) -> tuple[int, float]:
    """(stride, gigaflops for a megapixel) of a network up to its layers, the default one where none are named."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pipeline.networks.listing import network_without_weights

    network = network_without_weights(architecture, layers, pooled=pooled)
    pixels = torch.full((1, 3, SIDE, SIDE), sum(network.preprocess.range) / 2)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.feature_maps(pixels)
    return network.stride, counter.get_total_flops() / 1e9 / (SIDE**2 / 1e6)
