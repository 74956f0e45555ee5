"""The benchmarks' protocols: which labels are positives, which are junk, and which first results their own measures look at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Labels that count as relevant, and labels that are removed from the ranking; every other image is a negative."""

    positives: frozenset[str]
    junk: frozenset[str]


GOOD = Protocol(frozenset({"good", "ok"}), frozenset({"junk"}))
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "oxford": {"": GOOD},
    "holidays": {"": GOOD},
    "ukbench": {"": GOOD},
    "instances": {"": GOOD},
    "products": {"": GOOD},
    "google_landmarks": {"": GOOD},
    "ilias": {"": GOOD},
    "revisited": {
        "easy": Protocol(frozenset({"easy"}), frozenset({"junk", "hard"})),
        "medium": Protocol(frozenset({"easy", "hard"}), frozenset({"junk"})),
        "hard": Protocol(frozenset({"hard"}), frozenset({"junk", "easy"})),
    },
}
"""By the protocol that a data set's ground truth names: its settings by name, '' where there is one."""
MAP_AT = {"google_landmarks": (100,), "ilias": (1000,)}
FOUND_AT = {"products": (1, 10, 100, 1000)}
"""Numbers of first results that a protocol's own measures look at."""
