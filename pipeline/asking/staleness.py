"""Whether a collection still is what params.yaml asks for."""

from typing import Any

from pipeline.aggregation.params import load_method, load_storage
from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.collections import CollectionFacts, Version, removed_images
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.hashing.params import NO_HASH, load_hash
from pipeline.imaging.params import ResizeParameters
from pipeline.search.collection_params import CollectionParameters
from pipeline.search.params import SearchParameters
from pipeline.stage.parameters import load_section


def differing(version: Version) -> list[str]:
    """The sections of params.yaml that have other values than those that a version of a collection was made with.

    Raises:
        ParameterError: params.yaml has no such benchmark, or does not fit.
    """
    facts = version.facts
    made_with, rows = facts.described.features, facts.images + len(removed_images(version.folder))
    method, parameters = load_method()
    search: dict[str, Any] = SearchParameters.model_validate(facts.search).in_use()
    benchmark, (hashing, _) = load_benchmark(facts.benchmark, "dataset", "held_out"), load_hash()
    index = load_section(CollectionParameters, "collection").kind_for(rows, codes=facts.hashed is not None)
    sections = {
        f"benchmarks.{facts.benchmark}.dataset": (facts.dataset, benchmark.dataset),
        f"benchmarks.{facts.benchmark}.held_out": (facts.described.held_out_set.dataset, benchmark.held_out),
        "resize": (made_with.images.resize, load_section(ResizeParameters, "resize").effective()),
        "network": (made_with.network, load_section(NetworkChoice, "network")),
        "extract": (made_with.extract, load_section(ExtractParameters, "extract")),
        "aggregate.method": (facts.described.method, method),
        "aggregate.storage": (facts.described.storage, load_storage()),
        f"aggregate.{method}": (facts.described.parameters, parameters.model_dump(mode="json")),
        "hash.method": (facts.hashed or NO_HASH, hashing),
        "collection.index": (facts.index.kind, facts.index.kind if _compared_whole(facts) else index),
        "search": (search, load_section(SearchParameters, "search").in_use()),
    }
    return [path for path, (before, now) in sections.items() if before != now]


def _compared_whole(facts: CollectionFacts) -> bool:
    """Whether patches are compared without a shortlist, which no index does."""
    return facts.described.patches.database is not None and facts.search.get("shortlist") is None
