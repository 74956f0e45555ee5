"""What an import found, in lines for people: images by role, instances, what is left out and why, and names that are easily confused."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from pipeline.acquisition.image_list import Record
from pipeline.acquisition.scanning import Scan, alike, shown
from pipeline.stage.catalogue import ROLES

ROLE_NAMES = {"database": "in the database", "query": "queries", "distractor": "distractors", "held_out": "held out"}
ROLE_LIKE = {
    "queries": "query", "query": "query", "test": "query", "db": "database", "database": "database", "databases": "database",
    "gallery": "database", "heldout": "held_out", "held_out": "held_out", "held-out": "held_out", "train": "held_out",
    "distractor": "distractor", "distractors": "distractor",
}  # fmt: skip
"""Names of folders that people give to a role, and that are none unless they are exactly that of the role."""

LARGE = 1000
"""Photographs of an instance from which on a folder may be no object."""


def counts(records: Iterable[tuple[str, str | None]]) -> str:
    """One line from (role, instance) of every image."""
    roles: Counter[str] = Counter()
    instances = set()
    for role, instance in records:
        roles[role] += 1
        if instance and role in ("database", "query"):
            instances.add(instance)
    parts = ", ".join(f"{roles[role]} {ROLE_NAMES[role]}" for role in ROLES)
    return f"{roles.total()} images of {len(instances)} instances: {parts}"


def left_out(found: Scan) -> Iterator[str]:
    """One line for each reason."""
    for reason, paths in sorted(found.left_out.items()):
        yield f"left out, {reason}: {len(paths)} ({shown(paths)})"
    if found.other_endings:
        endings = ", ".join(f"{count} × {ending}" for ending, count in sorted(found.other_endings.items(), key=lambda item: (-item[1], item[0])))
        yield f"left out, no ending of an image: {sum(found.other_endings.values())} ({endings})"
    if found.hidden:
        yield f"left out, hidden or left behind by a system: {found.hidden}"


def doubts(records: list[Record], *, listed: bool) -> Iterator[str]:
    """One line for everything that may not be meant so.

    Args:
        listed: whether a list names roles and instances, and not the folders.
    """
    instances = Counter(record["instance"] for record in records if record["instance"])
    by_look: dict[str, list[str]] = defaultdict(list)
    for name in sorted(instances):
        by_look[alike(name)].append(name)
    for names in by_look.values():
        if len(names) > 1:
            yield f"instances that look alike and are kept apart: {', '.join(f'{name!r} ({instances[name]} images)' for name in names)}"
    for top in sorted({record["path"].split("/")[0] for record in records if "/" in record["path"]} if not listed else ()):
        if top not in ROLES and (role := ROLE_LIKE.get(top.lower())):
            yield f"the folder {top!r} is taken for an instance, not for the role {role}; name it {role} if that is meant"
    for name, count in instances.items():
        if count >= LARGE:
            yield f"the instance {name!r} has {count} photographs, all of which are taken for the same object"
    nameless = [record["path"] for record in records if record["role"] == "query" and not record["instance"]]
    if nameless:
        yield f"queries without an instance, which nothing can be right for: {len(nameless)} ({shown(nameless)})"
    known = {record["instance"] for record in records if record["role"] == "database"}
    lonely = [record["path"] for record in records if record["role"] == "query" and record["instance"] and record["instance"] not in known]
    if lonely:
        yield f"queries whose instance has no image in the database: {len(lonely)} ({shown(lonely)})"
