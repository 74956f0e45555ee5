"""What a reader is shown instead of the keys of files and parameters."""

import re

SCORES = {
    "map": "mean average precision (mAP)",
    "map_trapezoid": "mAP, trapezoid rule",
    "map_plain": "mAP, plain rule",
    "map_at_chance": "mAP of a random order",
    "at_chance_level": "hardly better than a random order",
    "scored_queries": "queries with relevant images",
    "queries_without_positives": "queries without relevant images, left out",
    "loc_score": "mAP by where the object was found (LocScore)",
    "ukbench_score": "UKBench score, of 4",
    "ukbench_percent": "UKBench score, %",
}
ANSWERS = {
    "answered": "queries that show a known instance and are answered",
    "correct": "answers that name the right instance",
    "threshold": "score above which an object counts as known",
    "accepted": "queries of known instances above this score",
    "unknown_learned_on": "photographs of unknown objects that the score is set by",
    "correct_of_accepted": "right answers among those above this score",
    "unknown_accepted": "unknown objects above this score",
    "unknown_needed": "photographs of unknown objects that are needed to say anything",
    "certainty_learned_on": "questions that certainty is learned from",
    "micro_ap": "µAP of all answers",
    "calibration_error": "calibration error of certainty",
}
YES_OR_NO = ("at_chance_level",)
AT_RANK = re.compile(r"(precision|recall|map|found)_at_(\d+)")
AT = {
    "precision": "precision of the first {}",
    "recall": "relevant images among the first {}",
    "map": "mAP of the first {}",
    "found": "queries with a relevant image among the first {}",
}


def measure(key: str) -> str:
    """A number of reports/metrics in words."""
    if key == "precision_at_1":
        return "queries whose first result is right (P@1)"
    if found := AT_RANK.fullmatch(key):
        return AT[found[1]].format(found[2])
    return SCORES.get(key) or ANSWERS.get(key) or key.replace("_", " ")


def value(key: str, number: float) -> str:
    """A number of reports/metrics as it is shown: yes or no, a count, or four decimals."""
    if key in YES_OR_NO:
        return "yes" if number else "no"
    return f"{number:.4f}" if isinstance(number, float) else str(number)


def setting(name: str) -> str:
    """A database and the setting of its protocol, 'with_distractors/hard' say."""
    return name.replace("_", " ").replace("/", ", ")
