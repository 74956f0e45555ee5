"""All of params.yaml at once: every section against its model, and every name against the section that defines it."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.acquisition.params import dataset_from
from pipeline.aggregation.params import METHODS, MaskStudyParameters, load_method, refuse_form
from pipeline.contracts.errors import ParameterError
from pipeline.contracts.parameters import PARAMS_FILE, UNSEEN, Section, load_section, read_section, validate
from pipeline.evaluation.params import EvaluateParameters
from pipeline.extraction.params import ExtractParameters, NetworkChoice
from pipeline.finetuning.params import refuse_circles, step_from
from pipeline.hashing.params import HASH_METHODS, load_hash
from pipeline.imaging.params import ResizeParameters
from pipeline.networks.params import ConcatenatedSource, network_from
from pipeline.reporting.params import ReportParameters, load_benchmarks
from pipeline.search.params import SearchParameters
from pipeline.search.params import refuse_form as refuse_search_form
from pipeline.studies.params import ActivationStudyParameters, PatchStudyParameters, RegionStudyParameters

SECTIONS: dict[str, type[Section]] = {
    "resize": ResizeParameters,
    "network": NetworkChoice,
    "extract": ExtractParameters,
    "mask_study": MaskStudyParameters,
    "patch_study": PatchStudyParameters,
    "region_study": RegionStudyParameters,
    "activation_study": ActivationStudyParameters,
    "search": SearchParameters,
    "evaluate": EvaluateParameters,
    "report": ReportParameters,
}
NAMED = ("datasets", "networks", "finetune", "benchmarks", "aggregate", "hash")


def check_parameters(file: Path | None = None) -> None:
    """Validate the whole file before any work.

    Raises:
        ParameterError: the first thing that does not fit, by its path.
    """
    origin = str(file or PARAMS_FILE)
    whole = _mapping("", file)
    for key in whole:
        if key not in (*SECTIONS, *NAMED):
            raise ParameterError(f"{origin}: {key}: unknown section; allowed: {', '.join(sorted((*SECTIONS, *NAMED)))}")
    for path, model in SECTIONS.items():
        load_section(model, path, file)
    datasets, networks = _mapping("datasets", file), _mapping("networks", file)
    for name, section in datasets.items():
        dataset_from(section, f"datasets.{name}", origin)
    for name, section in networks.items():
        network_from(section, f"networks.{name}", origin)
    _refuse_unseen_names(file)
    _check_steps(datasets, networks, file)
    _check_methods("aggregate", METHODS, file)
    _check_methods("hash", HASH_METHODS, file)
    extract = load_section(ExtractParameters, "extract", file)
    method, parameters = load_method(file)
    refuse_form(method, parameters, extract.patch_levels)
    if extract.patch_levels and load_section(ResizeParameters, "resize", file).query_crop == "activations":
        raise ParameterError(f"{origin}: resize.query_crop: patches are cut from pixels; use image, image_own_size or none with extract.patch_levels")
    _check_search(method, load_hash(file)[0], extract.patch_levels, file)
    for name, benchmark in load_benchmarks(file).items():
        for field in ("dataset", "held_out", "distractors"):
            _known(getattr(benchmark, field), datasets, f"{origin}: benchmarks.{name}.{field}", "datasets")
    choice = load_section(NetworkChoice, "network", file)
    _known(choice.name, networks | _mapping("finetune", file), f"{origin}: network.name", "networks` or `finetune")
    if (
        choice.layers
        and choice.name in networks
        and isinstance(network_from(networks[choice.name], f"networks.{choice.name}", origin), ConcatenatedSource)
    ):
        raise ParameterError(f"{origin}: network.layers: {choice.name} has members, each of which names its own layers; set it to []")


def _check_steps(datasets: dict[str, object], networks: dict[str, object], file: Path | None) -> None:
    """Every step of training, and that what it starts from and trains on is there."""
    origin = str(file or PARAMS_FILE)
    steps = {name: step_from(section, f"finetune.{name}", origin) for name, section in _mapping("finetune", file).items()}
    for name, step in steps.items():
        if name in networks:
            raise ParameterError(
                f"{origin}: finetune.{name}: there is a network of that name, and both would be data/networks/{name}; choose another"
            )
        _known(step.dataset, datasets, f"{origin}: finetune.{name}.dataset", "datasets")
        _known(step.start, networks | steps, f"{origin}: finetune.{name}.start", "networks` or `finetune")
        if step.start in networks and isinstance(network_from(networks[step.start], f"networks.{step.start}", origin), ConcatenatedSource):
            raise ParameterError(f"{origin}: finetune.{name}.start: {step.start} has members; start from one network")
    refuse_circles(steps, origin)


def _check_search(method: str, hashing: str, patch_levels: int, file: Path | None) -> None:
    """What patches and codes are not searched by."""
    origin = str(file or PARAMS_FILE)
    search = load_section(SearchParameters, "search", file)
    refuse_search_form(search, patch_levels, hashing if hashing != "none" else None, origin)
    if method == "patches" and hashing != "none":
        raise ParameterError(f"{origin}: hash.method: codes are of whole images; set it to none with aggregate.method patches")


def _check_methods(place: str, known: Mapping[str, type[Section]], file: Path | None) -> None:
    """Every section of a method, those not in use included."""
    origin = str(file or PARAMS_FILE)
    for method, section in _mapping(place, file).items():
        if method != "method":
            if method not in known:
                raise ParameterError(f"{origin}: {place}.{method}: unknown method; allowed: {', '.join(known)}")
            validate(known[method], section, f"{place}.{method}", origin)


def _refuse_unseen_names(file: Path | None) -> None:
    for place in NAMED:
        for name in _mapping(place, file):
            if name in UNSEEN:
                raise ParameterError(f"{file or PARAMS_FILE}: {place}.{name}: DVC's run cache does not see this name; choose another")


def _mapping(path: str, file: Path | None) -> dict[str, object]:
    value = read_section(path, file)
    if not isinstance(value, dict):
        raise ParameterError(f"{file or PARAMS_FILE}: {path or 'the file'}: expected a mapping, got {value!r}")
    return value


def _known(name: str, section: dict[str, object], where: str, place: str) -> None:
    if name not in section:
        raise ParameterError(f"{where}: {name!r} is not under `{place}`; there are: {', '.join(map(str, section))}")
