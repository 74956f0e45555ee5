"""Paper 3 in plain NumPy, float64 and loops: what the fast code is compared with."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def unit(vector: Floats) -> Floats:
    norm = math.sqrt(sum(float(value) ** 2 for value in vector))
    return vector / norm if norm else vector


def max_mask(feature_map: Floats) -> set[tuple[int, int]]:
    """Locations of a (K, H, W) map."""
    found = set()
    for channel in feature_map:
        if channel.any():
            best, place = -math.inf, (0, 0)
            for y in range(channel.shape[0]):
                for x in range(channel.shape[1]):
                    if channel[y, x] > best:
                        best, place = float(channel[y, x]), (y, x)
            found.add(place)
    return found


def sum_mask(feature_map: Floats) -> set[tuple[int, int]]:
    _, height, width = feature_map.shape
    sums = {(y, x): math.fsum(feature_map[:, y, x].tolist()) for y in range(height) for x in range(width)}
    ordered = sorted(sums.values())
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return {place for place, value in sums.items() if value >= median}


def point_mask(points: list[tuple[float, float]], columns: int, rows: int, height: int, width: int) -> set[tuple[int, int]]:
    """Equation 1, which counts pixels and locations from 1; points come counted from 0, and so do the locations that are returned."""
    marked = set()
    for x, y in points:
        column, row = math.floor((x + 1) * width / columns + 0.5), math.floor((y + 1) * height / rows + 0.5)
        marked.add((min(max(row, 1), height) - 1, min(max(column, 1), width) - 1))
    return marked


def principal_axes(vectors: Floats, dim: int) -> tuple[Floats, Floats, Floats]:
    """(mean, axes as rows, eigenvalues); the largest entry of an axis is positive."""
    mean = vectors.mean(axis=0)
    values, basis = np.linalg.eigh(np.cov(vectors.T, bias=True))
    order = np.argsort(values)[::-1][:dim]
    axes = basis[:, order].T
    return mean, np.array([axis * np.sign(axis[np.abs(axis).argmax()]) for axis in axes]), values[order]


def _normal(value: float, mean: float, variance: float) -> float:
    return math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def fisher(x: Floats, weights: Floats, means: Floats, variances: Floats) -> Floats:
    density = [
        weight * math.prod(_normal(value, m, v) for value, m, v in zip(x, mean, variance, strict=True))
        for weight, mean, variance in zip(weights, means, variances, strict=True)
    ]
    u, v = [], []
    for p, weight, mean, variance in zip(density, weights, means, variances, strict=True):
        share = p / sum(density)
        standard = (x - mean) / np.sqrt(variance)
        u.append(share / math.sqrt(weight) * standard)
        v.append(share / math.sqrt(2 * weight) * (standard**2 - 1))
    return np.concatenate(u + v)


def vlad(x: Floats, centroids: Floats) -> Floats:
    distances = [float(((x - centroid) ** 2).sum()) for centroid in centroids]
    nearest = distances.index(min(distances))
    return np.concatenate([x - centroid if index == nearest else np.zeros(len(x)) for index, centroid in enumerate(centroids)])


def triangulation(x: Floats, centroids: Floats) -> Floats:
    return np.concatenate([unit(x - centroid) for centroid in centroids])


def coefficients(x: Floats, bases: Floats, mu: float = 0.01) -> Floats:
    """Solve the optimality conditions of ½‖x − Σ γ_j v_j‖² + μ a ‖γ‖²/2 with Σ γ = 1 as one linear system."""
    size = len(bases)
    a = sum(float(np.abs(x - base).sum()) ** 3 for base in bases)
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = bases @ bases.T + mu * a * np.eye(size)
    system[:size, size] = system[size, :size] = 1
    return np.linalg.solve(system, np.append(bases @ x, 1.0))[:size]


def function_approximation(x: Floats, bases: Floats) -> Floats:
    blocks = []
    for gamma, base in zip(coefficients(x, bases), bases, strict=True):
        residual = unit(x - base)
        blocks.append([gamma * residual[i] * residual[j] for i in range(len(x)) for j in range(i, len(x))])
    return np.concatenate(blocks)


def floored_whitening(vectors: Floats, floor: int) -> tuple[Floats, Floats]:
    """(mean, matrix) with the `floor` smallest eigenvalues raised to the largest among them."""
    mean, axes, values = principal_axes(vectors, vectors.shape[1])
    raised = np.maximum(values, values[len(values) - floor])
    return mean, axes / np.sqrt(raised)[:, None]


def democratic(features: Floats) -> tuple[Floats, Floats]:
    """(weights, aggregated) of rows."""
    rows = [unit(feature) for feature in features]
    gram = np.array([[max(0.0, float(a @ b)) for b in rows] for a in rows])
    weights = np.ones(len(rows))
    for _ in range(10):
        sums = [weights[i] * sum(gram[i, j] * weights[j] for j in range(len(rows))) for i in range(len(rows))]
        weights = np.array([weight / math.sqrt(value) if value > 0 else weight for weight, value in zip(weights, sums, strict=True)])
    return weights, np.asarray(np.sum([weight * row for weight, row in zip(weights, rows, strict=True)], axis=0))


def aggregate(features: Floats, how: str, ridge: float = 1.0) -> Floats:
    match how:
        case "sum":
            return np.array([math.fsum(column) for column in features.T])
        case "average":
            return np.array([math.fsum(column) / len(features) for column in features.T])
        case "max":
            return np.array([max(column) for column in features.T])
        case "democratic":
            return democratic(features)[1]
        case _:
            alpha = np.linalg.inv(features @ features.T + ridge * np.eye(len(features))) @ np.ones(len(features))
            return alpha @ features


def post_process(vectors: Floats, held_out: Floats, truncate: int, power: float, order: str) -> Floats:
    def powered(vector: Floats) -> Floats:
        return np.array([math.copysign(abs(value) ** power, value) for value in vector])

    def before(vector: Floats) -> Floats:
        return unit(powered(vector)) if order == "power_first" else vector

    mean, axes, _ = principal_axes(np.array([before(vector) for vector in held_out]), held_out.shape[1])
    rotated = [(axes @ (before(vector) - mean))[truncate:] for vector in vectors]
    return np.array([unit(powered(vector) if order == "rotate_first" else vector) for vector in rotated])
