"""The report's page, from what evaluation wrote and the template beside this file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from pipeline.reporting.activation_studies import ActivationPage
from pipeline.reporting.region_studies import RegionPage
from pipeline.reporting.retrievals import Retrievals
from pipeline.reporting.studies import LABELS, MaskPage, SweepPage

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Setting:
    """One database in one setting of the protocol, and its numbers."""

    name: str
    size: int
    numbers: dict[str, Any]


@dataclass(frozen=True)
class BenchmarkPage:
    """All that the page says of one benchmark."""

    name: str
    metrics: dict[str, Any]
    about: dict[str, Any]
    precision_recall: str
    per_query: str
    shown: Retrievals
    masks: MaskPage
    patch_similarity: list[str]
    regions: RegionPage
    activations: ActivationPage

    @property
    def settings(self) -> list[Setting]:
        return settings_of(self.metrics)

    @property
    def method(self) -> str:
        return str(self.about["descriptors"]["method"])

    @property
    def codes(self) -> str:
        method, bits = self.about["codes"]["method"], self.metrics["bits"]
        return f"{bits} bits by {method}" if bits else "real-valued descriptors"

    @property
    def shortlist(self) -> int | None:
        """Images per query whose patches were compared; None for all."""
        found: int | None = self.about["search"]["shortlist"]
        return found

    @property
    def refinements(self) -> list[str]:
        """What the search did beyond comparing every descriptor once."""
        search = self.about["search"]
        augmented, expanded, rerank = search["augmentation"]["neighbours"], search["expansion"]["results"], search["rerank"]
        told = [f"database augmented by {augmented} neighbours"] if augmented else []
        averaged = search["augmentation"]["instances"]
        told += {"mean": ["images averaged by instance"], "weighted": ["images augmented within their instance"]}.get(averaged, [])
        told += [f"queries expanded by {expanded} results"] if expanded else []
        if rerank["method"] != "none":
            own = rerank[rerank["method"]]
            told.append(f"first {own['shortlist']} re-ranked by {rerank['method'].replace('_', ' ')}")
            told += [f"compared again with the mean of the first {own['expansion']}"] if own.get("expansion") else []
        return told

    @property
    def network(self) -> str:
        return str(self.about["descriptors"]["features"]["network"]["name"])

    @property
    def trained_on(self) -> list[str]:
        """What the network was fine-tuned on, step by step."""
        steps = self.about["descriptors"]["network_trained_on"]
        return [f"{step['images']} {step['role']} images of {step['instances']} instances of {step['dataset']}" for step in steps]

    @property
    def learned_on(self) -> str:
        learned_on = self.about["descriptors"]["learned_on"]
        return f"{learned_on['images']} {learned_on['role']} images of {learned_on['dataset']}" if learned_on else "nothing"

    @property
    def warnings(self) -> list[str]:
        found = [f"{setting.name}: the score is at chance level." for setting in self.settings if setting.numbers["at_chance_level"]]
        if self.metrics["held_out_duplicates"]:
            found.append(f"{self.metrics['held_out_duplicates']} images of the benchmark are also in the held-out set.")
        return found

    @property
    def provenance(self) -> str:
        return json.dumps(self.about, indent=2, sort_keys=True)


def settings_of(metrics: dict[str, Any]) -> list[Setting]:
    """The settings of a metrics file: 'database', or 'database/easy' and its siblings, then those with distractors."""
    settings = []
    for name in ("database", "with_distractors"):
        size = metrics["database_images"] + (metrics["distractors"] if name == "with_distractors" else 0)
        numbers = metrics.get(name)
        if numbers and "map" in numbers:
            settings.append(Setting(name, size, numbers))
        elif numbers:
            settings += [Setting(f"{name}/{setting}", size, own) for setting, own in numbers.items()]
    return settings


def render(
    benchmarks: list[BenchmarkPage],
    sweeps: list[SweepPage],
    online_times: list[str],
    matching: list[dict[str, str]],
    curves: dict[str, str],
    costs: list[dict[str, str]],
    images: dict[str, str],
    side: int,
) -> str:
    """The page as HTML; text from data is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    shown = {"benchmarks": benchmarks, "sweeps": sweeps, "online_times": online_times, "matching": matching, "curves": curves, "costs": costs}
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**shown, images=images, side=side, mask_labels=LABELS)
