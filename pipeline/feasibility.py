"""What params.yaml asks for against what can be had: dimensions against channels, layers, learning sets and files, before any stage runs.

Only what is known without running a stage is looked at; what a stage finds later stays an error of that stage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.acquisition.gallery import GalleryParameters
from pipeline.acquisition.gallery_pictures import HELD_OUT_PHOTOGRAPHS, QUARTERS
from pipeline.acquisition.sources import DatasetParameters
from pipeline.aggregation import params as methods
from pipeline.contracts.benchmarks import BenchmarkParameters
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.running.settings import settings
from pipeline.hashing.params import HashParameters, ThresholdingParameters
from pipeline.networks.listing import layer_channels
from pipeline.networks.params import ConcatenatedSource, NetworkSource
from pipeline.reranking.params import RerankParameters
from pipeline.stage import places
from pipeline.stage.errors import ModelError, ParameterError

SIFT = 128
"""Values of a SIFT descriptor."""


def refuse_missing_weights(networks: Mapping[str, Any], origin: str) -> None:
    """Local files of weights are there, unless the stage has taken them over already.

    Raises:
        ParameterError: a file is missing.
    """
    for name, source in networks.items():
        members = source.members if isinstance(source, ConcatenatedSource) else [source]
        for member in members:
            if member.weights == "file" and not places.network(name).exists():
                _refuse_missing(member.location or "", f"{origin}: networks.{name}.location")


def refuse_missing_local_features(rerank: RerankParameters, origin: str) -> None:
    """The files of learned local features are there, where they are in use.

    Raises:
        ParameterError: a file is missing.
    """
    for name, own in rerank.chosen.weights.items() if rerank.chosen else ():
        _refuse_missing(own.location, f"{origin}: search.rerank.{rerank.method}.{name}.location")


def _refuse_missing(location: str, where: str) -> None:
    file = settings().data / location
    if not file.is_file():
        raise ParameterError(f"{where}: {file} is not a file; set it, or RETRIEVAL_DATA, the folder that it starts from")


def channels_of(choice: NetworkChoice, networks: Mapping[str, Any], origin: str) -> int | None:
    """Channels of the active network's maps; None for one that a step of training makes.

    Raises:
        ParameterError: a layer that the architecture does not have.
    """
    source = networks.get(choice.name)
    if isinstance(source, ConcatenatedSource):
        members = enumerate(source.members)
        return sum(_channels(member, member.layers, f"{origin}: networks.{choice.name}.members.{index}.layers") for index, member in members)
    return _channels(source, choice.layers, f"{origin}: network.layers") if isinstance(source, NetworkSource) else None


def _channels(source: NetworkSource, layers: Sequence[str], where: str) -> int:
    wanted: Sequence[str | None] = layers or [None]
    try:
        return sum(layer_channels(source.architecture, layer) for layer in wanted)
    except ModelError as error:
        raise ParameterError(f"{where}: {error}") from None


def refuse_dimensions(name: str, method: methods.MethodParameters, channels: int | None, extract: ExtractParameters, origin: str) -> None:
    """No vector is projected to more dimensions than it has, and codes of patches divide theirs.

    Raises:
        ParameterError: it is, or they do not.
    """
    values = _patch_values(method, channels, extract)
    for field, wanted, given, what in _projections(method, channels, values):
        if wanted is not None and given is not None and wanted > given:
            raise ParameterError(f"{origin}: aggregate.{name}.{field}: {wanted} of the {given} {what}; set it to {given} at most")
    if isinstance(method, methods.PatchesParameters) and method.code_bytes and method.whitening == "none" and values and values % method.code_bytes:
        raise ParameterError(f"{origin}: aggregate.{name}.code_bytes: {method.code_bytes} does not divide the {values} dimensions of a patch")


def patch_dimensions(method: methods.MethodParameters, channels: int | None, extract: ExtractParameters) -> int | None:
    """Of a patch after its whitening, where the held-out set allows as many; None as `_patch_values`."""
    values = _patch_values(method, channels, extract)
    if not isinstance(method, methods.PatchesParameters) or values is None:
        return None
    return method.dimensions or (values if method.whitening == "none" else values // 2)


def _patch_values(method: methods.MethodParameters, channels: int | None, extract: ExtractParameters) -> int | None:
    """Values of a patch before its whitening; None for other methods, or where the channels are not known."""
    if not isinstance(method, methods.PatchesParameters) or channels is None:
        return None
    return channels * len(extract.patch_sides) * method.grid**2


def _projections(method: methods.MethodParameters, channels: int | None, values: int | None) -> list[tuple[str, int | None, int | None, str]]:
    """(parameter, dimensions wanted, dimensions there are, what they are) of every projection."""
    found: list[tuple[str, int | None, int | None, str]] = []
    if isinstance(method, methods.RegionalParameters):
        found.append(("regional_dimensions", method.regional_dimensions, channels, "channels of the network's maps"))
    if isinstance(method, methods.SelectiveParameters) and method.features == "sift":
        found.append(("local_dimensions", method.local_dimensions, SIFT, "values of a SIFT descriptor"))
    elif isinstance(method, methods.ClusterParameters | methods.SelectiveParameters):
        found.append(("local_dimensions", method.local_dimensions, channels, "channels of the network's maps"))
    if isinstance(method, methods.PatchesParameters):
        found.append(("dimensions", method.dimensions, values, "values of a patch"))
    if isinstance(method, methods.SuperGlobalParameters):
        found.append(("dimensions", method.dimensions, channels, "channels of the network's maps"))
    if isinstance(method, methods.WhitenedParameters) and method.whitening != "adaptation":  # which may have more rows than columns
        found.append(("dimensions", method.dimensions, _before_whitening(method, channels), "dimensions of the pooled vector"))
    return found


def _before_whitening(method: methods.WhitenedParameters, channels: int | None) -> int | None:
    if isinstance(method, methods.BagOfWordsParameters):
        return method.words
    if isinstance(method, methods.ClassScoresParameters | methods.RegionDescriptorParameters | methods.SaladParameters):
        return None
    if isinstance(method, methods.RegionalParameters):
        return None if method.regional_whitening == "network" else method.regional_dimensions or channels
    return channels


def described_dimensions(method: methods.MethodParameters, channels: int | None) -> int | None:
    """Of a descriptor at most, as far as the parameters tell."""
    if isinstance(method, methods.SelectiveParameters):
        return method.dimensions or method.embedded_dimensions - method.dropped
    if isinstance(method, methods.WhitenedParameters):
        return method.dimensions or _before_whitening(method, channels)
    if isinstance(method, methods.SuperGlobalParameters) and method.whitening != "network":
        return method.dimensions or channels
    return None


def refuse_bits(name: str, hashing: HashParameters, method: methods.MethodParameters, channels: int | None, origin: str) -> None:
    """A code has no more bits than its descriptor has dimensions, and one for each dimension where a threshold makes it.

    Raises:
        ParameterError: it has.
    """
    dimensions = described_dimensions(method, channels)
    if dimensions is None:
        return
    if hashing.bits > dimensions:
        raise ParameterError(f"{origin}: hash.{name}.bits: {hashing.bits} bits of descriptors with {dimensions} dimensions; set fewer")
    if isinstance(hashing, ThresholdingParameters) and _are_exact(method) and hashing.bits != dimensions:
        raise ParameterError(f"{origin}: hash.{name}.bits: thresholding makes a bit of each of the {dimensions} dimensions; set it to {dimensions}")


def _are_exact(method: methods.MethodParameters) -> bool:
    """Whether `described_dimensions` says how many there are, whatever the held-out set allows."""
    if getattr(method, "dimensions", None) is not None:
        return True
    if isinstance(method, methods.RegionalParameters) and method.regional_dimensions is None and method.regional_whitening != "none":
        return False
    return getattr(method, "whitening", "none") == "none"


def refuse_small_sets(
    benchmarks: Mapping[str, BenchmarkParameters],
    datasets: Mapping[str, DatasetParameters],
    name: str,
    method: methods.MethodParameters,
    channels: int | None,
    hashing: HashParameters | None,
    origin: str,
) -> None:
    """What is learned is learned on images, and on more of them than a whole image's vector keeps dimensions.

    Raises:
        ParameterError: the held-out set is empty or too small.
    """
    learner = f"aggregate.{name}" if method.learns else "hash" if hashing else None
    if learner is None:
        return
    for benchmark, sets in benchmarks.items():
        held_out, where = datasets[sets.held_out], f"{origin}: benchmarks.{benchmark}.held_out"
        if held_out.source == "none":
            raise ParameterError(f"{where}: {sets.held_out} has no images, and {learner} learns from some; name a data set that has")
        if isinstance(held_out, GalleryParameters) and isinstance(method, methods.WhitenedParameters) and method.dimensions is not None:
            images, most = _components(held_out, sets.kept_back, method, channels)
            if most is not None and method.dimensions > most:
                raise ParameterError(
                    f"{where}: {images} images of {sets.held_out} to learn on give {most} components, aggregate.{name}.dimensions is "
                    f"{method.dimensions}; set it lower, or aggregate.{name}.shrinkage above 0"
                )


def _components(held_out: GalleryParameters, kept_back: float, method: methods.WhitenedParameters, channels: int | None) -> tuple[int, int | None]:
    """Images of the embedded benchmark that are learned on, and how many components a whitening has of them; None: as many as are wanted."""
    objects = len(HELD_OUT_PHOTOGRAPHS) * QUARTERS
    objects -= round(kept_back * objects)
    images = objects * held_out.held_out
    if method.shrinkage > 0 or method.whitening not in ("pca", "pca_whitening", "learned"):
        return images, None
    rank = images - (objects if method.whitening == "learned" else 1)
    given = _before_whitening(method, channels)
    return images, rank if given is None else given if given <= rank else rank - 1  # the last direction of a set of lower rank is not used
