"""Whether a collection still is what params.yaml asks for."""

from typing import Any

from pipeline.aggregation.params import load_method, load_storage
from pipeline.contracts.benchmarks import load_benchmark
from pipeline.contracts.collections import CollectionFacts
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.imaging.params import ResizeParameters
from pipeline.search.params import SearchParameters
from pipeline.stage.parameters import load_section


def differing(facts: CollectionFacts) -> list[str]:
    """The sections of params.yaml that have other values than those that the collection was made with.

    Raises:
        ParameterError: params.yaml has no such benchmark, or does not fit.
    """
    made_with = facts.described.features
    method, parameters = load_method()
    search: dict[str, Any] = SearchParameters.model_validate(facts.search).in_use()
    sections = {
        f"benchmarks.{facts.benchmark}.dataset": (facts.dataset, load_benchmark(facts.benchmark, "dataset").dataset),
        "resize": (made_with.images.resize, load_section(ResizeParameters, "resize").effective()),
        "network": (made_with.network, load_section(NetworkChoice, "network")),
        "extract": (made_with.extract, load_section(ExtractParameters, "extract")),
        "aggregate.method": (facts.described.method, method),
        "aggregate.storage": (facts.described.storage, load_storage()),
        f"aggregate.{method}": (facts.described.parameters, parameters.model_dump(mode="json")),
        "search": (search, load_section(SearchParameters, "search").in_use()),
    }
    return [path for path, (before, now) in sections.items() if before != now]
