"""All of params.yaml at once: one model of the whole file, and every name held against the section that defines it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import yaml
from pydantic import Field, create_model, model_validator

from pipeline.acquisition.registry import DATASETS
from pipeline.acquisition.sources import DatasetParameters
from pipeline.aggregation.params import METHODS, MethodParameters, refuse_unreadable_features
from pipeline.contracts.benchmarks import BenchmarkParameters
from pipeline.contracts.features.feature_parameters import ExtractParameters, NetworkChoice
from pipeline.contracts.features.storage import Storage
from pipeline.demands import refuse_missing_parts, refuse_useless_boxes
from pipeline.evaluation.params import EvaluateParameters
from pipeline.feasibility import (
    channels_of,
    refuse_bits,
    refuse_dimensions,
    refuse_missing_local_features,
    refuse_missing_weights,
    refuse_small_sets,
)
from pipeline.finetuning.params import STEPS, StepParameters, refuse_circles
from pipeline.hashing.params import HASH_METHODS, NO_HASH
from pipeline.imaging.params import ResizeParameters
from pipeline.networks.params import ConcatenatedSource, NetworkSource
from pipeline.reporting.params import ReportParameters
from pipeline.search.collection_params import CollectionParameters, refuse_index
from pipeline.search.params import SearchParameters, refuse_unsearchable
from pipeline.stage.errors import ParameterError
from pipeline.stage.names import refuse_names
from pipeline.stage.parameters import PARAMS_FILE, Section, named_by, one_of, read_section, validate
from pipeline.studies.params import STUDIES, ActivationStudyParameters, MaskStudyParameters, PatchStudyParameters, RegionStudyParameters


class MethodsSection(Section):
    """The method in use, and a section for each method; that of the method in use must be there."""

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        if self.parameters is None:
            raise ValueError(f"{self.name} is the method, and its section is missing")
        return self

    @property
    def name(self) -> str:
        """The method in use."""
        return str(getattr(self, "method"))  # noqa: B009 -- the field is made by `methods`

    @property
    def parameters(self) -> Any:
        """The section of the method in use."""
        return getattr(self, self.name)


def methods(title: str, kinds: dict[str, Any], **more: Any) -> Any:
    """The model of a section with a `method`, a section for each method, and some fields more."""
    fields: dict[str, Any] = {name: (kind | None, None) for name, kind in kinds.items()}
    choice = Field(description="in use; the sections of the others count for nothing")
    fields["method"] = (Literal[tuple(kinds)], choice)
    return create_model(title, __base__=MethodsSection, **fields, **more)


def _how_many(section: Any) -> str:
    several = isinstance(section, ConcatenatedSource) or (isinstance(section, dict) and "members" in section)
    return "several" if several else "one"


if TYPE_CHECKING:
    AnyDataset: TypeAlias = DatasetParameters
    AnyStep: TypeAlias = StepParameters
    AnyNetwork: TypeAlias = NetworkSource | ConcatenatedSource
    AggregateSection: TypeAlias = MethodsSection
    HashSection: TypeAlias = MethodsSection
else:
    AnyDataset = one_of({name: kind.Parameters for name, kind in DATASETS.items()}, named_by("source"))
    AnyStep = one_of(STEPS, named_by("step"))
    AnyNetwork = one_of({"one": NetworkSource, "several": ConcatenatedSource}, _how_many)
    storage = Field("float32", description="of the descriptors' values; the largest rounding stands in the report")
    AggregateSection = methods("AggregateSection", METHODS, storage=(Storage, storage))
    HashSection = methods("HashSection", HASH_METHODS)


class Parameters(Section):
    """params.yaml."""

    datasets: dict[str, AnyDataset] = Field(description="where images come from, by name; `retrieval datasets` lists the sources")
    networks: dict[str, AnyNetwork] = Field(description="weights, by name; `retrieval networks` lists the architectures")
    finetune: dict[str, AnyStep] = Field(description="steps of training, by name; what each makes is a network like the others")
    benchmarks: dict[str, BenchmarkParameters] = Field(description="what is searched, what is learned on, what is mixed in, by name")
    resize: ResizeParameters
    network: NetworkChoice
    extract: ExtractParameters
    aggregate: AggregateSection = Field(description="how feature maps become descriptors")
    hash: HashSection = Field(description="how descriptors become binary codes")
    search: SearchParameters
    collection: CollectionParameters
    evaluate: EvaluateParameters
    mask_study: dict[str, MaskStudyParameters] = Field(description="benchmarks whose masks of local features are compared")
    patch_study: dict[str, PatchStudyParameters] = Field(description="benchmarks whose patches are compared with changed views of themselves")
    region_study: dict[str, RegionStudyParameters] = Field(description="benchmarks whose regions are held against the queries' boxes")
    activation_study: dict[str, ActivationStudyParameters] = Field(description="benchmarks whose class activations are shown")
    report: ReportParameters


def load_parameters(file: Path | None = None) -> Parameters:
    """The whole file, every section against its model and against the others.

    Raises:
        ParameterError: what does not fit, by its path.
    """
    origin = str(file or PARAMS_FILE)
    content = read_section("", file)
    refuse_names(content, origin)
    whole = validate(Parameters, content, "", origin)
    _refuse_left_out(whole, content, origin)
    _check_names(whole, origin)
    _check_steps(whole, origin)
    _check_forms(whole, origin)
    _check_benchmarks(whole, origin)
    return whole


def check_parameters(file: Path | None = None) -> None:
    """Validate the whole file before any work, and what it asks for against what can be had.

    Raises:
        ParameterError: what does not fit, by its path.
    """
    whole, origin = load_parameters(file), str(file or PARAMS_FILE)
    method, hashing = whole.aggregate, whole.hash.parameters if whole.hash.name != NO_HASH else None
    refuse_missing_weights(whole.networks, origin)
    refuse_missing_local_features(whole.search.rerank, origin)
    channels = channels_of(whole.network, whole.networks, origin)
    refuse_missing_parts(method.name, method.parameters, whole.network, whole.networks, origin)
    refuse_useless_boxes(method.name, method.parameters, whole.resize.query_crop, whole.search.rerank.method, origin)
    refuse_dimensions(method.name, method.parameters, channels, whole.extract, origin)
    refuse_small_sets(whole.benchmarks, whole.datasets, method.name, method.parameters, channels, hashing, origin)
    if hashing:
        refuse_bits(whole.hash.name, hashing, method.parameters, channels, origin)


def _refuse_left_out(whole: Parameters, content: dict[str, Any], origin: str) -> None:
    """Values that dvc.yaml follows one by one stand in the file, as DVC knows no defaults."""
    followed: list[tuple[str, Section, Any]] = [(f"benchmarks.{name}", own, content["benchmarks"][name]) for name, own in whole.benchmarks.items()]
    followed += [("search", whole.search, content["search"]), ("search.rerank", whole.search.rerank, content["search"].get("rerank", {}))]
    for path, section, given in [*followed, ("aggregate", whole.aggregate, content["aggregate"])]:
        names = {"aggregate": ["storage"], "search.rerank": ["method"]}.get(path, type(section).model_fields)
        for name in names:
            if name not in given:
                default = section.model_dump(mode="json", include={name})
                line = yaml.safe_dump(default, default_flow_style=True, width=1000).strip()[1:-1]
                raise ParameterError(f"{origin}: {path}.{name}: DVC follows this value by its name, so it has to stand in the file; add `{line}`")


def _check_names(whole: Parameters, origin: str) -> None:
    """The active network is there and takes layers."""
    choice = whole.network
    _known(choice.name, whole.networks | whole.finetune, f"{origin}: network.name", "networks` or `finetune")
    if choice.layers and isinstance(whole.networks.get(choice.name), ConcatenatedSource):
        raise ParameterError(f"{origin}: network.layers: {choice.name} has members, each of which names its own layers; set it to []")


def _check_steps(whole: Parameters, origin: str) -> None:
    """What each step of training starts from and trains on is there."""
    steps: dict[str, StepParameters] = whole.finetune
    for name, step in steps.items():
        if name in whole.networks:
            raise ParameterError(
                f"{origin}: finetune.{name}: there is a network of that name, and both would be data/networks/{name}; choose another"
            )
        _known(step.dataset, whole.datasets, f"{origin}: finetune.{name}.dataset", "datasets")
        _known(step.start, whole.networks | steps, f"{origin}: finetune.{name}.start", "networks` or `finetune")
        if isinstance(whole.networks.get(step.start), ConcatenatedSource):
            raise ParameterError(f"{origin}: finetune.{name}.start: {step.start} has members; start from one network")
    refuse_circles(steps, origin)


def _check_forms(whole: Parameters, origin: str) -> None:
    """Maps or patches, descriptors or codes: what one section makes, the next one can read."""
    method: MethodParameters = whole.aggregate.parameters
    levels, hashing = whole.extract.patch_levels, whole.hash.name
    refuse_unreadable_features(whole.aggregate.name, method, levels, whole.network.layers)
    if levels and whole.resize.query_crop == "activations":
        raise ParameterError(f"{origin}: resize.query_crop: patches are cut from pixels; use image, image_own_size or none with extract.patch_levels")
    refuse_unsearchable(whole.search, levels, hashing if hashing != NO_HASH else None, origin)
    refuse_index(whole.collection, whole.search, codes=hashing != NO_HASH, origin=origin)
    if whole.aggregate.name == "patches" and hashing != NO_HASH:
        raise ParameterError(f"{origin}: hash.method: codes are of whole images; set it to none with aggregate.method patches")


def _check_benchmarks(whole: Parameters, origin: str) -> None:
    """The data sets that benchmarks and studies name."""
    datasets: dict[str, DatasetParameters] = whole.datasets
    for name, benchmark in whole.benchmarks.items():
        for field in ("dataset", "held_out", "distractors"):
            _known(getattr(benchmark, field), datasets, f"{origin}: benchmarks.{name}.{field}", "datasets")
    for place in STUDIES:
        for name, study in getattr(whole, place).items():
            _known(name, whole.benchmarks, f"{origin}: {place}.{name}", "benchmarks")
            for field in ("dataset", "held_out"):
                wanted = getattr(whole.benchmarks[name], field)
                if getattr(study, field, wanted) != wanted:
                    raise ParameterError(
                        f"{origin}: {place}.{name}.{field}: {getattr(study, field)!r} is not that of the benchmark; set it to {wanted}"
                    )


def _known(name: str, section: dict[str, Any], where: str, place: str) -> None:
    if name not in section:
        raise ParameterError(f"{where}: {name!r} is not under `{place}`; there are: {', '.join(section) or 'none'}")
