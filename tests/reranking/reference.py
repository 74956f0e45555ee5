"""Re-ranking as the papers print it, in loops of NumPy, float64."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def plain_k_reciprocal(query: Floats, vectors: Floats, k1: int, k2: int, balance: float) -> Floats:
    """Zhong et al., 2017: sets, then Jaccard distances of local query-expanded weight vectors; the distances to each image."""
    nodes = np.concatenate([query[None], vectors])
    count = len(nodes)
    distances = np.array([[((a - b) ** 2).sum() for b in nodes] for a in nodes])
    distances = distances / distances.max(axis=1, keepdims=True)
    order = np.argsort(distances, axis=1, kind="stable")

    def mutual(node: int, k: int) -> set[int]:
        return {int(other) for other in order[node, : k + 1] if node in order[other, : k + 1]}

    weights = np.zeros((count, count))
    for node in range(count):
        hood = mutual(node, k1)
        expanded = set(hood)
        for candidate in hood:
            own = mutual(candidate, round(k1 / 2))
            if len(own & hood) > 2 / 3 * len(own):
                expanded |= own
        for other in expanded:
            weights[node, other] = np.exp(-distances[node, other])
        weights[node] /= weights[node].sum()
    averaged = np.array([weights[order[node, :k2]].mean(axis=0) for node in range(count)])
    found = []
    for node in range(1, count):
        low, high = np.minimum(averaged[0], averaged[node]).sum(), np.maximum(averaged[0], averaged[node]).sum()
        found.append((1 - balance) * (1 - low / high) + balance * distances[0, node])
    return np.array(found)


def plain_diffusion(query: Floats, vectors: Floats, nearest: int, query_nearest: int, damping: float, exponent: float) -> Floats:
    """Iscen et al., 2017, §3: the closed form (I − αS)⁻¹ y."""
    count = len(vectors)
    cosines = vectors @ vectors.T
    near = [
        set(sorted((other for other in range(count) if other != node), key=lambda other: -cosines[node, other])[:nearest]) for node in range(count)
    ]
    graph = np.zeros((count, count))
    for i in range(count):
        for j in near[i]:
            if i in near[j]:
                graph[i, j] = max(cosines[i, j], 0) ** exponent
    degrees = graph.sum(axis=1)
    roots = np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    start = np.zeros(count)
    for node in np.argsort(-(vectors @ query), kind="stable")[:query_nearest]:
        start[node] = max(float(vectors[node] @ query), 0) ** exponent
    solved: Floats = np.linalg.solve(np.eye(count) - damping * roots[:, None] * graph * roots[None], start).astype(np.float64)
    return solved


def plain_refined(query: Floats, vectors: Floats, neighbours: int, weight: float, best: int) -> Floats:
    """Shao et al., 2023, §3.2, as their code has it: refined descriptors, and the maximum over the best of them as a second query."""
    refined = []
    for place, vector in enumerate(vectors):
        others = sorted((other for other in range(len(vectors)) if other != place), key=lambda other: -(vectors[other] @ vector))
        shares = [weight * max(float(vectors[other] @ vector), 0) for other in others[:neighbours]]
        total = vector + sum(share * vectors[other] for share, other in zip(shares, others, strict=False))
        refined.append(total / (1 + sum(shares)))
    first = [own @ query for own in refined]
    if not best:
        return np.array(first)
    maximum = np.max([refined[place] for place in np.argsort(-np.array(first), kind="stable")[:best]], axis=0)
    return np.array([(score + own @ maximum) / 2 for score, own in zip(first, refined, strict=True)])


def plain_localization(feature_map: Floats, query: Floats, aspect: float, tolerance: float) -> tuple[float, tuple[int, int, int, int]]:
    """Every box of a map, by its true maximum: the largest cosine with the query and its box (y0, x0, y1, x1)."""
    _, height, width = feature_map.shape
    best, place = -1.0, (0, 0, 0, 0)
    for y0 in range(height):
        for x0 in range(width):
            for y1 in range(y0 + 1, height + 1):
                for x1 in range(x0 + 1, width + 1):
                    ratio = (x1 - x0) / (y1 - y0) / aspect
                    if max(ratio, 1 / ratio) <= tolerance + 1e-9:
                        pooled = feature_map[:, y0:y1, x0:x1].max(axis=(1, 2))
                        cosine = float(pooled @ query / max(np.linalg.norm(pooled), 1e-12))
                        if cosine > best:
                            best, place = cosine, (y0, x0, y1, x1)
    return best, place
