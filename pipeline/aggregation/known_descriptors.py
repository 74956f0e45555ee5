"""Descriptors that the store has from earlier runs, by the image's bytes, the way of extraction and the model."""

from pipeline.contracts.executors.store import Store, digest_of
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.models import KIND as MODEL
from pipeline.extraction.known_values import KnownValues, way_of_extraction
from pipeline.stage import places
from pipeline.stage.fingerprint import code_fingerprint
from pipeline.stage.manifest import load_manifest

KIND = "descriptors"


def known_descriptors(benchmark: str, choice: NetworkChoice, parameters: ExtractParameters, kept: int | None) -> KnownValues:
    """Those that a benchmark's model makes; benchmarks with the same model share them.

    Args:
        kept: patches of an image that are kept; None where it has one descriptor, or where all are.
    """
    weights = load_manifest(places.network(choice.name), "network").fingerprint
    model = load_manifest(places.models(benchmark), MODEL).fingerprint
    code = code_fingerprint("aggregation", "maps", "projections", "imaging")
    return KnownValues(Store.open(), KIND, digest_of(way_of_extraction(choice, parameters, weights), model, code, kept).hex())
