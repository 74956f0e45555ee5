"""What the service counts about itself, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TOGETHER = (1, 2, 4, 8, 16, 32)


class Counters:
    """Counters of one service; nothing of a photograph or a name is in them but the collection's."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.questions = Counter(
            "retrieval_questions_total", "Questions by collection and status of HTTP.", ["collection", "status"], registry=self._registry
        )
        self.seconds = Histogram("retrieval_answer_seconds", "From a question's first byte to its answer.", buckets=SECONDS, registry=self._registry)
        self.batches = Histogram("retrieval_batch_questions", "Questions that were searched together.", buckets=TOGETHER, registry=self._registry)
        self.waiting = Gauge("retrieval_waiting_questions", "Questions that are not answered yet.", registry=self._registry)
        self.images = Gauge("retrieval_images", "Images of the version that is open.", ["collection"], registry=self._registry)
        self.versions = Counter("retrieval_versions_total", "Versions of a collection that were opened.", ["collection"], registry=self._registry)

    def text(self) -> bytes:
        """All of them, in Prometheus's text form."""
        return generate_latest(self._registry)
