"""Buckets: as many as images need, cut anew only when their number doubles, and each name in the same one whoever else is there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.stage.buckets import IMAGES, IMAGES_OF_MANY, MANY, bucket_count, bucket_of, in_buckets


@pytest.mark.parametrize(
    ("images", "buckets"),
    [
        (0, 1),
        (1, 1),
        (IMAGES, 1),
        (IMAGES + 1, 2),
        (1000, 8),
        (IMAGES * MANY, MANY),
        (IMAGES * MANY + 1, MANY),
        (10**6, MANY),
        (IMAGES_OF_MANY * MANY + 1, 2 * MANY),
        (10**8, 131072),
    ],
)
def test_the_number_of_buckets_is_a_power_of_two(images: int, buckets: int) -> None:
    assert bucket_count(images) == buckets


@pytest.mark.slow
@settings(deadline=None, database=None, derandomize=True)
@given(st.sets(st.text(max_size=8), max_size=300), st.text(max_size=8))
def test_an_added_name_changes_one_bucket(names: set[str], added: str) -> None:
    before, after = in_buckets(names), in_buckets(names | {added})
    assert sorted(name for bucket in before for name in bucket) == sorted(names)
    if len(before) == len(after):
        changed = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert changed == ([] if added in names else [bucket_of(added, len(after))])


def test_buckets_are_about_equal() -> None:
    sizes = [len(bucket) for bucket in in_buckets(f"database/{number}.jpg" for number in range(16000))]
    assert len(sizes) == 128
    assert 80 < min(sizes) <= max(sizes) < 180
