"""Quantisation loss and recall of 64-bit codes: iterative quantisation here, a random rotation, and faiss.ITQMatrix on the same vectors,
whose update multiplies by the wrong transpose, so that it stays near a random rotation."""

from typing import Any

import faiss
import torch

from pipeline.hashing.hasher import signs
from pipeline.hashing.itq import optimal_rotation
from pipeline.projections.whitening import Rotation

COUNT, DIMENSIONS, BITS, QUERIES, NEIGHBOURS, FOUND = 5000, 256, 64, 500, 10, 100


def white() -> torch.Tensor:
    return torch.randn(COUNT, DIMENSIONS, generator=torch.Generator().manual_seed(0))


def clustered() -> torch.Tensor:
    """Vectors around 250 centres with a falling spectrum, as descriptors of instances are."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(COUNT // 20, DIMENSIONS, generator=generator)
    return (centres.repeat(20, 1) + 2 * torch.randn(COUNT, DIMENSIONS, generator=generator)) * torch.linspace(2, 0.1, DIMENSIONS)


def library_rotation(projected: torch.Tensor) -> torch.Tensor:
    """What faiss.ITQMatrix learns, as a matrix to multiply with from the right."""
    model: Any = faiss.ITQMatrix(BITS)
    model.train(projected.float().numpy())
    return torch.from_numpy(model.apply(torch.eye(BITS).numpy())).double()


def recall(vectors: torch.Tensor, codes: torch.Tensor) -> float:
    """Share of the 10 nearest vectors of each query that are among the 100 nearest codes, the query itself left out."""
    nearest = torch.cdist(vectors[:QUERIES], vectors).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]
    found = (codes[:QUERIES] @ codes.T).fill_diagonal_(-BITS - 1).topk(FOUND).indices
    return float((nearest[:, :, None] == found[:, None]).any(dim=2).float().mean())


def main() -> None:
    for name, vectors in (("white", white()), ("clustered", clustered())):
        projected = Rotation(BITS).fit(vectors).transform(vectors).double()
        chance = torch.linalg.qr(torch.randn(BITS, BITS, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
        rotations = {"iterative quantisation": optimal_rotation(projected, 50, 0, []), "random rotation": chance}
        rotations["faiss.ITQMatrix"] = library_rotation(projected)
        losses = {}
        for label, rotation in rotations.items():
            rotated = projected @ rotation
            losses[label] = float((signs(rotated) - rotated).square().sum(dim=1).mean())
            found = recall(vectors, signs(rotated).float())
            print(f"{name}, {label}: loss {losses[label]:.2f}, recall {NEIGHBOURS}@{FOUND} {found:.3f}")
        ours = losses.pop("iterative quantisation")
        print(f"{name}, ratio of losses: " + ", ".join(f"{ours / loss:.3f} of {label}" for label, loss in losses.items()))


if __name__ == "__main__":
    main()
