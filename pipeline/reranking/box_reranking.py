"""Re-ranking by the descriptor of the box that looks most like the query (paper 2, §4: "R"; Tolias et al., 2016, §5)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from pipeline.aggregation.describers.registry import load_describer
from pipeline.aggregation.pooling import mac
from pipeline.contracts.running.progress import Progress
from pipeline.maps.boxes import Cells, cut_out, joined, pixels_of
from pipeline.maps.stream import MapBatch
from pipeline.projections.normalization import l2
from pipeline.reranking.content import Content
from pipeline.reranking.localization import localize
from pipeline.reranking.params import LocalizationParameters
from pipeline.reranking.shortlists import Boxes, Reranker, Rescored, Shortlists

PARTS_AT_ONCE = 256
VALUES_AT_ONCE = 2**25
Pair = tuple[int, int]
"""A query and a place in its shortlist."""
Found = tuple[int, Cells, list[Pair]]
"""An image of a batch, a box, and the pairs that found it."""


class BoxReranker(Reranker):
    """Every shortlisted map is read once, for all queries that want it; each box is described as the whole image was."""

    def __init__(self, parameters: LocalizationParameters, content: Content) -> None:
        self.parameters, self.content = parameters, content
        self.describer, _ = load_describer(content.model, content.device)

    def rescore(self, shortlists: Shortlists) -> Rescored:
        shape = shortlists.scores.shape
        boxes = np.full((*shape, 4), np.nan, np.float32)
        vectors = shortlists.queries.new_zeros(*shape, shortlists.queries.shape[1])
        wanted = shortlists.wanted()
        maxima, aspects = self._queries(shortlists.query_ids)
        with torch.inference_mode(), Progress("localization", len(wanted), "images") as progress:
            for ids, batch in self.content.maps(set(wanted), self.describer.parameters.needs_pictures):
                found = list(self._boxes(batch, [wanted[image_id] for image_id in ids], maxima, aspects))
                seen = replace(batch, pictures=[picture.decoded() for picture in batch.pictures])
                at_once = max(1, min(PARTS_AT_ONCE, VALUES_AT_ONCE // batch.scales[0][0].numel()))
                for first in range(0, len(found), at_once):
                    self._describe(seen, found[first : first + at_once], vectors, boxes)
                progress.advance(len(ids))
        scores = torch.einsum("qsd,qd->qs", vectors, shortlists.queries)
        return Rescored(scores.cpu().numpy(), boxes, vectors)

    def _queries(self, query_ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Maximum activations (Q, K), l2-normalised, and aspects (Q,) of the queries' maps."""
        maxima: dict[str, torch.Tensor] = {}
        aspects: dict[str, float] = {}
        for ids, batch in self.content.maps(set(query_ids), with_pictures=False):
            maps = batch.scales[0]
            maxima.update(zip(ids, l2(mac(maps)), strict=True))
            aspects.update(dict.fromkeys(ids, maps.shape[3] / maps.shape[2]))
        return torch.stack([maxima[query] for query in query_ids]), torch.tensor([aspects[query] for query in query_ids])

    def _boxes(self, batch: MapBatch, wanted: list[list[Pair]], maxima: torch.Tensor, aspects: torch.Tensor) -> Iterator[Found]:
        """What the queries that want each image find in it; each box of an image once."""
        own = self.parameters
        for index, pairs in enumerate(wanted):
            queries = torch.tensor([query for query, _ in pairs])
            found, _ = localize(
                batch.scales[0][index],
                maxima[queries],
                aspects[queries].to(maxima),
                exponent=own.exponent,
                step=own.step,
                aspect=own.aspect,
                refinement=own.refinement,
                iterations=own.iterations,
            )
            shared: dict[Cells, list[Pair]] = {}
            for pair, (y0, x0, y1, x1) in zip(pairs, found.tolist(), strict=True):
                shared.setdefault((y0, x0, y1, x1), []).append(pair)
            for cells, finders in shared.items():
                yield index, cells, finders

    def _describe(self, batch: MapBatch, found: list[Found], vectors: torch.Tensor, boxes: Boxes) -> None:
        width, height = batch.image_size
        parts = [cut_out(batch, index, cells) for index, cells, _ in found]
        for positions, part in joined(parts):
            for place, vector in zip(positions, self.describer.describe(part), strict=True):
                _, cells, pairs = found[place]
                x0, y0, x1, y1 = pixels_of(batch, cells)
                for query, slot in pairs:
                    vectors[query, slot] = vector
                    boxes[query, slot] = (x0 / width, y0 / height, x1 / width, y1 / height)
