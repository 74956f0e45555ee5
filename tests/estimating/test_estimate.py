"""What params.yaml would cost: the workload against numbers of the papers, the stages against sums by hand, what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.aggregation.params import METHODS
from pipeline.estimating.report import estimate
from pipeline.estimating.stages import AS_MUCH_AS, Machine, stage_costs
from pipeline.estimating.unit_costs import UnitCosts, cost_rows, unit_costs
from pipeline.estimating.workload import Workload, counted_network, workload
from pipeline.stage.errors import ParameterError
from pipeline.whole import load_parameters
from tests.conftest import PROJECT
from tests.params_file import written

COSTS = UnitCosts.model_validate(
    {
        "core": "a core",
        "resize": {"image": 1, "read_megapixel": 2, "png_megapixel": 4, "jpeg_megapixel": 3, "png_bytes": 100, "jpeg_bytes": 10},
        "gigaflops": {"vgg16": 10, "other": 5},
        "extract": {"image": 0.5, "million_values": 2, "compressed": 0.5},
        "describe": {"gem": 3},
        "product": 0.5,
        "collection": {"thumbnail": 0.25, "thumbnail_bytes": 1000, "row": {"flat": 0, "hnsw": 2}},
        "euros": 0.1,
        "gpus": {"g": {"title": "a GPU", "gigaflops": {"other": {"float32": 100, "bfloat16": 200}}, "image": 0.01, "euros": 2}},
    }
)
WORK = Workload(
    megapixels=0.5,
    encoding="jpeg",
    gigaflops={"vgg16": 20},
    precision="bfloat16",
    values=500_000,
    value_bytes=2,
    method="gem",
    rows=1,
    dimensions=256,
    bits=0,
    index="hnsw",
)


def of(parameters: dict[str, Any], folder: Path, images: int = 1000) -> Workload:
    return workload(load_parameters(written(folder, parameters)), images)


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "multiply_adds"), [("vgg16", 15.3e9), ("alexnet", 0.66e9)])
def test_arithmetic_is_that_of_the_networks_convolutions(architecture: str, multiply_adds: float) -> None:
    """As published for 224×224 pixels; AlexNet's convolutions have no padding that scales, so that its count is within a tenth."""
    _, gigaflops = counted_network(architecture)
    assert gigaflops * 224**2 / 1e6 * 1e9 / 2 == pytest.approx(multiply_adds, rel=0.1)


@pytest.mark.slow
def test_a_workload_follows_params_yaml(tmp_path: Path) -> None:
    plain = of({"resize.pixels": 320, "aggregate.method": "gem"}, tmp_path)
    assert plain.megapixels == pytest.approx(320 * 240 / 1e6)
    assert plain.values == pytest.approx(1280 * 10 * 7.5)
    assert (plain.dimensions, plain.bits, plain.index, plain.row_bytes) == (1280, 0, "flat", 5120)
    twice = of({"resize.pixels": 320, "aggregate.method": "gem", "extract.scales": [1.0, 2.0]}, tmp_path)
    assert twice.values == pytest.approx(5 * plain.values)
    assert twice.gigaflops["efficientnet_lite0"] == pytest.approx(5 * plain.gigaflops["efficientnet_lite0"])
    coded = of({"aggregate.method": "gem", "hash.method": "itq", "hash.itq.bits": 256}, tmp_path, 10**7)
    assert (coded.bits, coded.row_bytes, coded.index) == (256, 32, "multi_index")
    assert of({"aggregate.method": "gem"}, tmp_path, 10**6).index == "hnsw"
    many = of({"aggregate.method": "gem"}, tmp_path, 10**8)
    assert (many.index, many.lists) == ("ivf_pq", 40_000)
    patches = {"aggregate.method": "patches", "extract.patch_levels": 2, "aggregate.patches.levels": 2, "search.query_levels": 2}
    patched = of(patches | {"extract.patch_sides": [100], "extract.patch_way": "crops", "resize.rule": "square", "resize.pixels": 100}, tmp_path)
    assert (patched.rows, patched.values) == (5, 5 * 1280 * 4)
    assert patched.gigaflops["efficientnet_lite0"] == pytest.approx(5 * counted_network("efficientnet_lite0")[1] * 0.01)
    assert patched.row_bytes == 5 * 640 * 4, "half of the dimensions are kept"
    assert (patched.asked_rows, patched.products(10**6)) == (5, 25.0)
    short = of(patches | {"search.query_levels": 1, "search.shortlist": 100}, tmp_path)
    assert short.products(10**6) == pytest.approx(1 + 5 * 1e-4)
    half = of({"aggregate.method": "gem", "aggregate.storage": "bfloat16"}, tmp_path)
    assert (half.descriptor_bytes, half.row_bytes) == (2560, 5120)
    assert of(patches | {"aggregate.patches.code_bytes": 64}, tmp_path).row_bytes == 5 * 64


def test_stages_are_sums_of_measured_pieces() -> None:
    found = {each.stage: each for each in stage_costs(WORK, COSTS, Machine(cores=2), images=10, megapixels=3, questions=4)}
    assert found["resize"].core_seconds == pytest.approx(10 * (1 + 2 * 3 + 3 * 0.5))
    assert found["resize"].seconds == found["resize"].core_seconds / 2
    assert found["resize"].bytes == pytest.approx(10 * (0.5 * 10 + 80))
    assert found["extract"].core_seconds == pytest.approx(10 * (20 / 10 + 0.5 + 0.5 * 2))
    assert found["extract"].bytes == pytest.approx(10 * (500_000 * 2 * 0.5 + 40))
    assert found["aggregate"].core_seconds == pytest.approx(10 * 3 * 0.5)
    assert found["search"].core_seconds == pytest.approx(10 * 4 * 256 / 1e6 * 0.5)
    assert found["collection"].core_seconds == pytest.approx(10 * (0.25 + 2 * 256 / 512))
    assert list(found) == ["resize", "extract", "aggregate", "search", "collection"]
    listed = stage_costs(replace(WORK, lists=1000), COSTS, Machine(cores=2), images=10, megapixels=3, questions=4)[-1]
    assert listed.core_seconds - found["collection"].core_seconds == pytest.approx(10 * 2 * 1000 * 256 / 5e9)


def test_on_gpus_the_slowest_way_decides() -> None:
    def extract(**changes: Any) -> Any:
        machine = replace(Machine(cores=300, gpus=2, gpu=COSTS.gpu("g")), **changes)
        return next(each for each in stage_costs(WORK, COSTS, machine, 1, 3, 0) if each.stage == "extract")

    assert (extract().seconds, extract().by) == (pytest.approx(20 / 200 / 2), "the network's arithmetic")
    assert (extract(cores=3).seconds, extract(cores=3).by) == (pytest.approx(1.5 / 3), "reading and compressing")
    fast = COSTS.gpu("g").model_copy(update={"gigaflops": {"other": {"bfloat16": 1e6}}})
    assert (extract(gpu=fast).seconds, extract(gpu=fast).by) == (pytest.approx(0.01 / 2), "the thread that feeds and writes")
    assert Machine(4, 2, COSTS.gpu("g")).price(COSTS) == 4
    assert Machine(4).price(COSTS) == pytest.approx(0.4)
    assert Machine(4, euros=7).price(COSTS) == 7


@pytest.mark.slow
def test_the_command_prints_every_stage_and_twice_the_images_cost_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)

    def total(images: int) -> list[str]:
        lines = estimate(images, megapixels=2, cores=2, gpus=0, gpu="h100", euros=1.0, questions=0)
        assert [line.split("|")[1].strip() for line in lines if line.startswith("| ") and "stage" not in line] == [
            *("resize", "extract", "aggregate", "search", "collection"),
            "total",
        ]
        return next(line for line in lines if line.startswith("| total")).split("|")

    assert float(total(2 * 10**6)[2]) == pytest.approx(2 * float(total(10**6)[2]), rel=1e-3)
    assert float(total(10**6)[6]) == float(total(10**6)[2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"gpus": 1, "gpu": "abacus"}, "--gpu: 'abacus' was not measured; there are: h100"), ({"images": 0}, "--images is 1 at least")],
)
def test_what_cannot_be_estimated_is_refused(changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    usual: dict[str, Any] = {"images": 10, "megapixels": 2, "cores": 2, "gpus": 0, "gpu": "h100", "euros": None, "questions": 0}
    with pytest.raises(ParameterError, match=message):
        estimate(**usual | changes)


def test_every_method_has_a_cost() -> None:
    costs = unit_costs().describe
    assert {AS_MUCH_AS.get(method, method) for method in METHODS} <= set(costs)
    assert not set(AS_MUCH_AS) & set(costs)


def test_sizes_that_params_yaml_does_not_say_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"resize\.rule: none stores photographs at their own size"):
        of({"resize.rule": "none"}, tmp_path)


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text('{"core": "x"}', encoding="utf-8")
    with pytest.raises(ParameterError, match="resize: Field required"):
        unit_costs(file)
    assert unit_costs().gigaflops["other"] > 0


def test_the_page_has_the_unit_costs_in_use() -> None:
    page = (PROJECT / "docs/scale.md").read_text(encoding="utf-8")
    costs = unit_costs()
    assert costs.core in page
    for work, cost in cost_rows(costs):
        assert f"| {work} | {cost} |" in page
