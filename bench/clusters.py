"""Clusters of a map against scikit-learn's spectral clustering, image by image: [5, 20] of features and [5] of colours (paper 2, §4.1)."""

import warnings

import numpy as np
import torch
from sklearn.cluster import SpectralClustering
from sklearn.metrics.pairwise import euclidean_distances

from bench.timing import paired
from pipeline.aggregation.clusters import cut_values, feature_similarity, normalized_cut
from pipeline.aggregation.describers.activation_clusters import STARTS, images_at_once
from pipeline.contracts.running.device import prepare_processor

COUNTS, COLOUR_COUNTS = (5, 20), (5,)
IMAGES = {(24, 32): 16, (48, 64): 2}
SCALE, REGULARISATION, BLOBS = 0.05, 0.5, 12


def scenes(count: int, height: int, width: int, dimensions: int, seed: int) -> torch.Tensor:
    """(count, H·W, dimensions) float32 of smooth blobs with some noise, like the components of local features or colours."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : 1j * height, 0 : 1 : 1j * width]
    images = []
    for _ in range(count):
        centres, widths = random.uniform(0, 1, (BLOBS, 2)), random.uniform(0.05, 0.3, BLOBS)
        blobs = np.exp(-((y[None] - centres[:, :1, None]) ** 2 + (x[None] - centres[:, 1:, None]) ** 2) / widths[:, None, None] ** 2)
        values = np.einsum("bhw,bd->hwd", blobs, random.normal(0, 1, (BLOBS, dimensions))) + random.normal(0, 0.05, (height, width, dimensions))
        images.append(values.reshape(-1, dimensions))
    return torch.from_numpy(np.stack(images).astype(np.float32))


def ours(features: torch.Tensor, colours: torch.Tensor, at_once: int) -> None:
    for first in range(0, len(features), at_once):
        for points, counts in ((features, COUNTS), (colours, COLOUR_COUNTS)):
            normalized_cut(feature_similarity(points[first : first + at_once], None, SCALE), counts, REGULARISATION, STARTS)


def theirs(features: torch.Tensor, colours: torch.Tensor) -> None:
    """One call per number of clusters; the similarities once."""
    for image in range(len(features)):
        for points, counts in ((features, COUNTS), (colours, COLOUR_COUNTS)):
            distances = euclidean_distances(points[image].numpy())
            similarity = np.exp(-((distances / (SCALE * distances.max())) ** 2))
            for count in counts:
                SpectralClustering(count, affinity="precomputed", assign_labels="discretize", random_state=0).fit(similarity)


def cut_ratio(features: torch.Tensor) -> float:
    """The regularised cuts of ours over those of scikit-learn's labels, for the larger number of clusters."""
    similarity = feature_similarity(features, None, SCALE)
    own = normalized_cut(similarity, COUNTS[1:], REGULARISATION, STARTS)[0]
    model = SpectralClustering(COUNTS[1], affinity="precomputed", assign_labels="discretize", random_state=0)
    other = torch.stack([torch.from_numpy(model.fit_predict(each.numpy())).long() for each in similarity])
    sums = [cut_values(similarity, labels, COUNTS[1], REGULARISATION).sum() for labels in (own, other)]
    return float(sums[0] / sums[1])


def main() -> None:
    prepare_processor()
    torch.set_grad_enabled(False)
    warnings.filterwarnings("ignore", module="sklearn")
    for (height, width), count in IMAGES.items():
        features, colours = scenes(count, height, width, 4, 0), scenes(count, height, width, 3, 1)
        at_once = images_at_once(torch.empty(count, 0, height, width))
        own, other = paired(lambda: ours(features, colours, at_once), lambda: theirs(features, colours))  # noqa: B023
        print(
            f"{height}x{width}: {count / own:.1f} images/s ({1000 * own / count:.1f} ms each); scikit-learn {count / other:.2f} images/s "
            f"({1000 * other / count:.1f} ms each): {other / own:.1f} times as fast; cuts, regularised, {cut_ratio(features):.3f} of theirs"
        )


if __name__ == "__main__":
    main()
