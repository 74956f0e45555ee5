"""Buckets: what lies in one file is decided by a digest of each image's name, so that an added or removed image changes one file alone."""

import hashlib
from collections.abc import Iterable

IMAGES = 128
"""Of a bucket, about, while there are at most MANY buckets."""
MANY = 1024
IMAGES_OF_MANY = 1024
"""Of a bucket, about, where there are more."""


def bucket_count(images: int) -> int:
    """How many buckets some images are put into: a power of two, so that all are cut anew only when their number doubles."""
    small = _power_of_two(images / IMAGES)
    return small if small <= MANY else max(MANY, _power_of_two(images / IMAGES_OF_MANY))


def bucket_of(name: str, count: int) -> int:
    """The bucket, of `count`, that a name belongs to."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") % count


def in_buckets(names: Iterable[str]) -> list[list[str]]:
    """Names bucket by bucket, sorted; a bucket may be empty."""
    chosen = sorted(set(names))
    buckets: list[list[str]] = [[] for _ in range(bucket_count(len(chosen)))]
    for name in chosen:
        buckets[bucket_of(name, len(buckets))].append(name)
    return buckets


def _power_of_two(least: float) -> int:
    power = 1
    while power < least:
        power *= 2
    return power
