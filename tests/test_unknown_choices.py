"""A choice that the code does not know is refused, also where a new one was added to the parameters alone; nothing is computed instead."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.aggregation.democratic import aggregate
from pipeline.aggregation.local_features import select_locations
from pipeline.aggregation.post_processing import PostProcessing
from pipeline.evaluation.average_precision import RULES, chance_level
from pipeline.hashing.thresholding import Thresholding
from pipeline.imaging.images import encode, target_size
from pipeline.reranking.expansion import expand_queries
from pipeline.search.patch_scan import whole_image

NEW = cast(Any, "new")
ROWS = torch.eye(4)


@pytest.mark.parametrize(
    "choose",
    [
        lambda: select_locations(NEW, torch.ones(1, 2, 3, 3)),
        lambda: aggregate(ROWS, NEW),
        lambda: PostProcessing(order=NEW),
        lambda: expand_queries(ROWS, ROWS[:, None], NEW),
        lambda: Thresholding(8, level=NEW).fit(torch.eye(8)),
        lambda: whole_image(np.ones((2, 3, 4), np.float32), NEW),
        lambda: encode(Image.new("RGB", (2, 2)), NEW),
        lambda: target_size(2, 2, NEW, 4, False),
        lambda: chance_level(9, 3, NEW),
    ],
)
def test_an_unknown_choice_is_refused(choose: Any) -> None:
    with pytest.raises((ValueError, KeyError, AssertionError), match="new"):
        choose()


def test_known_choices_are_taken() -> None:
    assert select_locations("none", torch.ones(1, 2, 3, 3)).all()
    assert {rule: chance_level(9, 3, rule) > 0 for rule in RULES} == dict.fromkeys(RULES, True)
