"""The report's page, from what evaluation wrote and the template next to this file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.collections import IndexFacts
from pipeline.contracts.metrics import Metrics
from pipeline.contracts.rankings import Provenance
from pipeline.look.templates import templates
from pipeline.reporting import wording
from pipeline.reporting.activation_studies import ActivationPage
from pipeline.reporting.figures import reliability
from pipeline.reporting.mask_studies import LABELS, MaskPage
from pipeline.reporting.query_tables import InstanceRow, QueryRow, instance_rows
from pipeline.reporting.region_studies import RegionPage
from pipeline.reporting.retrievals import Retrievals
from pipeline.reporting.style import style
from pipeline.reporting.sweeps import SweepPage

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class BenchmarkPage:
    """All that the page says of one benchmark.

    Attributes:
        results: what the viewer shows of it; see `viewer_data`.
    """

    name: str
    metrics: Metrics
    about: Provenance
    precision_recall: str
    per_query: str
    shown: Retrievals
    masks: MaskPage | None = None
    patch_similarity: Sequence[str] = ()
    regions: RegionPage | None = None
    activations: ActivationPage | None = None
    index: IndexFacts | None = None
    queries: Sequence[QueryRow] = ()
    results: str = ""

    @property
    def instances(self) -> list[InstanceRow]:
        """The instances that queries show, worst first."""
        return instance_rows(list(self.queries))

    @property
    def codes(self) -> str:
        return f"{self.metrics.bits} bits by {self.about.codes.method}" if self.metrics.bits else "real-valued descriptors"

    @property
    def boxed(self) -> bool:
        """Whether the search says where it found the query."""
        return any(hit.box for query in (*self.shown.best, *self.shown.worst) for hit in query.hits)

    @property
    def trained_on(self) -> list[str]:
        """What the network was fine-tuned on, step by step."""
        steps = self.about.descriptors.network_trained_on
        return [f"{step.images} {step.role} images of {step.instances} instances of {step.dataset}" for step in steps]

    @property
    def learned_on(self) -> str:
        learned_on = self.about.descriptors.learned_on
        return f"{learned_on.images} {learned_on.role.replace('_', '-')} images of {learned_on.dataset}" if learned_on else "nothing"

    @property
    def reliability(self) -> str:
        """How often answers are right against how sure they are; empty where they do not say."""
        return reliability(self.about.reliability, self.name) if self.about.reliability else ""

    @property
    def answers(self) -> dict[str, float]:
        """Numbers of the answers by name; empty where there are none."""
        return self.metrics.answers.model_dump(exclude_none=True) if self.metrics.answers else {}

    @property
    def index_loss(self) -> str:
        """What the index of the collection costs against comparing every image, for people; empty where it does that."""
        if self.index is None or not self.index.loss:
            return ""
        loss = self.index.loss
        recalls = ", ".join(f"{loss[f'recall_{depth}']:.4f} of the first {depth}" for depth in (1, 10, 100))
        return f"{self.index.kind} index: finds {recalls} exact results; mAP of the first 100 is {loss['map']:.4f} instead of {loss['exact_map']:.4f}"

    @property
    def warnings(self) -> list[str]:
        found = [f"{setting.name}: the score is at chance level." for setting in self.metrics.settings if setting.scores.at_chance_level]
        if self.metrics.held_out_duplicates:
            found.append(f"{self.metrics.held_out_duplicates} images of the benchmark are also in the held-out set.")
        overlaps = [overlap.warning for overlap in self.about.descriptors.network_overlaps]
        return found + [f"{text[0].upper()}{text[1:]}." for text in overlaps]

    @property
    def provenance(self) -> str:
        return json.dumps(self.about.model_dump(mode="json"), indent=2, sort_keys=True)


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
    shown = {"benchmarks": benchmarks, "sweeps": sweeps, "online_times": online_times, "matching": matching, "curves": curves, "costs": costs}
    look = {"style": style(), "script": (FOLDER / "page.js").read_text(encoding="utf-8"), "side": side, "words": wording, "mask_labels": LABELS}
    return templates(FOLDER).get_template("page.html.j2").render(**shown, **look, images=images)
