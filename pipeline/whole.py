"""All of params.yaml at once: every section against its model, and every name against the section that defines it."""

from collections.abc import Mapping
from pathlib import Path

from pipeline.acquisition.params import dataset_from
from pipeline.aggregation.params import METHODS, MaskStudyParameters, load_method
from pipeline.contracts.errors import ParameterError
from pipeline.contracts.parameters import PARAMS_FILE, UNSEEN, Section, load_section, read_section, validate
from pipeline.evaluation.params import EvaluateParameters
from pipeline.extraction.params import ExtractParameters, NetworkChoice
from pipeline.hashing.params import HASH_METHODS, load_hash
from pipeline.imaging.params import ResizeParameters
from pipeline.networks.params import NetworkSource
from pipeline.reporting.params import ReportParameters, load_benchmarks
from pipeline.search.params import SearchParameters

SECTIONS: dict[str, type[Section]] = {
    "resize": ResizeParameters,
    "network": NetworkChoice,
    "extract": ExtractParameters,
    "mask_study": MaskStudyParameters,
    "search": SearchParameters,
    "evaluate": EvaluateParameters,
    "report": ReportParameters,
}
NAMED = ("datasets", "networks", "benchmarks", "aggregate", "hash")


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
        validate(NetworkSource, section, f"networks.{name}", origin)
    _refuse_unseen_names(file)
    _check_methods("aggregate", METHODS, file)
    _check_methods("hash", HASH_METHODS, file)
    load_method(file)
    load_hash(file)
    for name, benchmark in load_benchmarks(file).items():
        for field in ("dataset", "held_out", "distractors"):
            _known(getattr(benchmark, field), datasets, f"{origin}: benchmarks.{name}.{field}", "datasets")
    _known(load_section(NetworkChoice, "network", file).name, networks, f"{origin}: network.name", "networks")


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
