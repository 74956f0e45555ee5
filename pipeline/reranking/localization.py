"""Boxes of a feature map that look like a query, by approximate max-pooling on integral images (Tolias et al., 2016, §4)."""

from collections.abc import Callable

import torch

BOXES_AT_ONCE = 4096
SCORES_AT_ONCE = 2**24
Pool = Callable[[torch.Tensor], torch.Tensor]


def localize(
    feature_map: torch.Tensor,
    queries: torch.Tensor,
    aspects: torch.Tensor,
    *,
    exponent: float = 10.0,
    step: int = 3,
    aspect: float = 1.1,
    refinement: int = 3,
    iterations: int = 5,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The box of a map whose approximate maximum has the largest cosine with each query's maximum.

    All boxes with corners on every `step`-th cell and an aspect near the query's are tried (those of the nearest aspect where none is near
    enough); the best is refined by moving one side at a time.

    Args:
        feature_map: (K, H, W), not negative.
        queries: (Q, K), maximum activations of the queries, l2-normalised, not whitened.
        aspects: (Q,), width over height of the queries.

    Returns:
        (Q, 4) int64: y0, x0, y1, x1, the ends exclusive; and the cosines (Q,).
    """
    height, width = feature_map.shape[1:]
    pool = approximate_maximum(feature_map, exponent)
    candidates = candidate_boxes(height, width, step, feature_map.device)
    boxes, cosines = [], []
    for part in torch.arange(len(queries)).split(max(1, SCORES_AT_ONCE // len(candidates))):
        start = _best(pool, queries[part], aspects[part], candidates, aspect)
        found = _refined(pool, queries[part], *start, (height, width), refinement, iterations)
        boxes.append(found[0])
        cosines.append(found[1])
    return torch.cat(boxes), torch.cat(cosines)


def _best(pool: Pool, queries: torch.Tensor, aspects: torch.Tensor, boxes: torch.Tensor, aspect: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of the boxes (n, 4) whose aspect is near enough, for each query, and its cosine."""
    shapes = (boxes[:, 3] - boxes[:, 1]) / (boxes[:, 2] - boxes[:, 0])
    strangeness = (shapes[None] / aspects[:, None].to(shapes)).log().abs()
    limit = torch.maximum(strangeness.amin(dim=1, keepdim=True), torch.tensor(aspect).log().to(strangeness)) + 1e-6
    allowed = strangeness <= limit
    used = allowed.any(dim=0).nonzero()[:, 0]
    scores = torch.cat([queries @ pool(boxes[part]).T for part in used.split(BOXES_AT_ONCE)], dim=1)
    best = scores.masked_fill(~allowed[:, used], -torch.inf).max(dim=1)
    return boxes[used[best.indices]], best.values


def approximate_maximum(feature_map: torch.Tensor, exponent: float) -> Pool:
    """A function from boxes (n, 4) to the l2-normalised generalised means of the map (K, H, W) inside them, (n, K).

    Each channel is divided by its maximum and summed in float64. What is smaller than the sums' rounding counts as zero: activations below
    about 5 % of the channel's maximum with an exponent of 10, 15 % with 15.
    """
    channels = feature_map.shape[0]
    peaks = feature_map.amax(dim=(1, 2))
    scaled = (feature_map / peaks.clamp(min=torch.finfo(feature_map.dtype).tiny)[:, None, None]).clamp(min=0)
    table = scaled.new_zeros(feature_map.shape[1] + 1, feature_map.shape[2] + 1, channels, dtype=torch.float64)
    table[1:, 1:] = scaled.double().pow(exponent).cumsum(dim=1).cumsum(dim=2).permute(1, 2, 0)
    rounding = table[-1, -1] * feature_map[0].numel() * torch.finfo(torch.float64).eps

    def pool(boxes: torch.Tensor) -> torch.Tensor:
        y0, x0, y1, x1 = boxes.unbind(dim=1)
        sums = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
        sums = torch.where(sums > rounding, sums, torch.zeros_like(sums))
        pooled = sums.to(feature_map).pow(1 / exponent) * peaks  # the mean's division by the area goes with the normalisation
        lengths: torch.Tensor = pooled.norm(dim=1, keepdim=True).clamp(min=torch.finfo(pooled.dtype).tiny)
        return pooled / lengths

    return pool


def candidate_boxes(height: int, width: int, step: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(n, 4) int64 of all boxes with corners on every `step`-th cell or on the map's last edge."""
    rows, columns = (_spans(length, step) for length in (height, width))
    boxes = torch.cat([rows.repeat_interleave(len(columns), dim=0), columns.repeat(len(rows), 1)], dim=1)
    return boxes[:, [0, 2, 1, 3]].to(device)


def _spans(length: int, step: int) -> torch.Tensor:
    """(n, 2): start and end of every span between two grid lines."""
    lines = torch.tensor(sorted({*range(0, length, step), length}))
    return torch.combinations(lines, 2)


def _refined(
    pool: Pool, queries: torch.Tensor, boxes: torch.Tensor, scores: torch.Tensor, shape: tuple[int, int], reach: int, iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinate descent: each side in turn goes to the best of the places within `reach`, until none moves."""
    boxes, moves = boxes.clone(), torch.arange(-reach, reach + 1, device=boxes.device)
    every = torch.arange(len(boxes), device=boxes.device)
    for _ in range(iterations if reach else 0):
        before = boxes.clone()
        for side in range(4):
            tried = boxes[:, None].repeat(1, len(moves), 1)
            low = boxes[:, side - 2, None] + 1 if side >= 2 else torch.zeros_like(boxes[:, :1])
            high = boxes[:, side + 2, None] - 1 if side < 2 else torch.full_like(boxes[:, :1], shape[side - 2])
            tried[:, :, side] = torch.minimum(torch.maximum(tried[:, :, side] + moves, low), high)
            found = torch.einsum("qmk,qk->qm", pool(tried.flatten(0, 1)).unflatten(0, tried.shape[:2]), queries).max(dim=1)
            better = found.values > scores + 1e-7
            boxes = torch.where(better[:, None], tried[every, found.indices], boxes)
            scores = torch.where(better, found.values, scores)
        if torch.equal(before, boxes):
            break
    return boxes, scores
