"""A choice that the code does not know is refused, also where a new one was added to the parameters alone; nothing is computed instead."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.acquisition.sources import Photograph
from pipeline.aggregation.democratic import aggregate
from pipeline.aggregation.local_features import select_locations
from pipeline.aggregation.post_processing import PostProcessing
from pipeline.evaluation.average_precision import RULES, chance_level
from pipeline.finetuning.augmentation import changed
from pipeline.finetuning.params import AugmentationParameters
from pipeline.hashing.thresholding import Thresholding
from pipeline.imaging.images import context_factor, encode, target_size
from pipeline.imaging.params import ResizeParameters
from pipeline.imaging.preparation import prepare
from pipeline.networks.region_head import RegionForm, whole_map, window_vectors
from pipeline.reranking.expansion import expand_queries
from pipeline.search.patch_matching import patch_distances
from pipeline.search.whole_images import whole_image
from pipeline.stage.parameters import Section
from tests.pictures import encoded

NEW = cast(Any, "new")
ROWS = torch.eye(4)
QUERY = Photograph("q", "q", encoded(0), "query", box=(1.0, 1.0, 40.0, 40.0))


def chosen(section: Section, **values: Any) -> Any:
    """A section with values that its model does not allow."""
    return section.model_construct(**vars(section) | values)


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
        lambda: whole_map(torch.ones(1, 2, 3, 3), RegionForm(2, None, NEW)),
        lambda: window_vectors(torch.ones(1, 2, 3, 3), torch.zeros(1, 1, dtype=torch.int64), 2, RegionForm(2, 1, NEW)),
        lambda: RegionForm(2, None, NEW).length(3),
        lambda: patch_distances(ROWS[:, None], ROWS[:, None], NEW),
        lambda: context_factor(9, 9, 1, NEW, 8, False),
        lambda: changed(Image.new("RGB", (8, 8)), chosen(AugmentationParameters(), fill=NEW), np.random.default_rng(0)),
        lambda: prepare(QUERY, chosen(ResizeParameters(), query_crop=NEW)),
    ],
)
def test_an_unknown_choice_is_refused(choose: Any) -> None:
    with pytest.raises((ValueError, KeyError, AssertionError), match="new"):
        choose()


def test_known_choices_are_taken() -> None:
    assert select_locations("none", torch.ones(1, 2, 3, 3)).all()
    assert {rule: chance_level(9, 3, rule) > 0 for rule in RULES} == dict.fromkeys(RULES, True)
