"""Parameters that do not go together, or are impossible, are refused by params.yaml's own check, before any work and without any data."""

from pathlib import Path

import pytest

from pipeline.stage.errors import ParameterError
from pipeline.whole import check_parameters
from tests.params_file import written

PATCHES = {
    "extract.patch_levels": 3,
    "aggregate.method": "patches",
    "aggregate.patches.levels": 2,
    "search.query_levels": 2,
    "search.top_k": 5,
}
REFINED = {"search.augmentation.neighbours": 2, "search.rerank.method": "diffusion"}
CODES = {"hash.method": "itq"}


@pytest.mark.parametrize("values", [PATCHES, REFINED, CODES])
def test_what_goes_together_is_taken(tmp_path: Path, values: dict[str, object]) -> None:
    check_parameters(written(tmp_path, values))


@pytest.mark.parametrize(
    ("values", "path", "value", "message"),
    [
        (PATCHES, "extract.patch_levels", 0, r"extract\.patch_levels: aggregate\.patches\.levels is 2; set it to 2 at least, not 0"),
        (PATCHES, "aggregate.method", "mac", r"extract\.patch_levels: aggregate\.mac reads whole maps; set it to 0, not 3"),
        (PATCHES, "hash.method", "itq", r"hash\.method: codes are of whole images"),
        (PATCHES, "resize.query_crop", "activations", r"resize\.query_crop: patches are cut from pixels"),
        (PATCHES, "aggregate.patches.grid", 3, r"aggregate\.patches\.grid: .*1 or 2"),
        (PATCHES, "search.query_levels", 4, r"search\.query_levels: 4 is more than the 3 of extract\.patch_levels"),
        (PATCHES, "search.shortlist", 3, r"search: top_k 5 is more than the 3 images of the shortlist"),
        (REFINED, "hash.method", "itq", "search.augmentation.neighbours: codes are compared once"),
        (REFINED, "aggregate.clusters.scale", 0, "aggregate.clusters.scale"),
        (REFINED, "search.rerank.method", "rerank", "search.rerank.method: 'rerank' is unknown; allowed: none, localization"),
        (CODES, "search.distance", "l1", r"search\.distance: codes are compared by the Hamming distance; set it to null with hash\.method itq"),
        ({}, "search.shortlist", 200, r"search\.shortlist: only patches are searched in two steps"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, values: dict[str, object], path: str, value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_parameters(written(tmp_path, values | {path: value}))
