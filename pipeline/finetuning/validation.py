"""How well descriptors find the instances that were not trained on, and whether they have collapsed."""

import math
from dataclasses import dataclass

import torch

from pipeline.stage.errors import SanityError

ROWS_AT_ONCE = 512
LEAST_SPREAD = 0.02
"""Of the spread before training; below it the descriptors of all images point the same way."""
WORST_LOSS = 2.0
"""Times that of guessing, ln C; a classifier that ends an epoch beyond it is diverging."""


@dataclass(frozen=True)
class Validated:
    """Attributes:
    mean_ap, precision_at_1: of the validation photographs as queries among all others; NaN without any.
    spread: 1 − the length of the mean descriptor: near 0 where all are alike.
    """

    mean_ap: float
    precision_at_1: float
    spread: float


def validate_descriptors(descriptors: torch.Tensor, labels: torch.Tensor, first: int) -> Validated:
    """Each photograph from index `first` on is searched among all others, trained and not.

    Args:
        descriptors: (N, D), l2-normalised.
        labels: (N,) int64.
    """
    precisions, hits = [], []
    for rows in torch.arange(first, len(labels), device=labels.device).split(ROWS_AT_ONCE):
        similarity = descriptors[rows] @ descriptors.T
        similarity[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
        order = similarity.argsort(dim=1, descending=True, stable=True)[:, :-1]
        relevant = labels[order] == labels[rows][:, None]
        precisions.append(plain_average_precision(relevant))
        hits.append(relevant[:, 0].double())
    spread = 1 - float(descriptors.mean(dim=0).norm())
    if not precisions:
        return Validated(math.nan, math.nan, spread)
    return Validated(float(torch.cat(precisions).mean()), float(torch.cat(hits).mean()), spread)


def plain_average_precision(relevant: torch.Tensor) -> torch.Tensor:
    """(Q,) average precision, the plain rule, of rankings (Q, N) that say whether each image is relevant; NaN where none is."""
    places = torch.arange(1, relevant.shape[1] + 1, device=relevant.device)
    precision = relevant.cumsum(dim=1) / places
    return (precision.double() * relevant).sum(dim=1) / relevant.sum(dim=1)


def refuse_collapse(where: str, epoch: int, descriptors: torch.Tensor, spread: float, least: float, learning_rate: float) -> None:
    """Stop training whose descriptors tell nothing apart any more.

    Args:
        least: spread that they need.

    Raises:
        SanityError: they are not finite, zero, or all alike.
    """
    if not descriptors.isfinite().all():
        reason = "descriptors are not finite"
    elif not descriptors.any(dim=1).all():
        reason = f"{int((~descriptors.any(dim=1)).sum())} of {len(descriptors)} descriptors are zero"
    elif spread < least:
        reason = f"all descriptors are alike (spread {spread:.4f}, below {least:.4f})"
    else:
        return
    raise _collapsed(where, epoch, reason, learning_rate)


def refuse_divergence(where: str, epoch: int, loss: float, guessing: float | None, learning_rate: float) -> None:
    """Stop training whose loss says that it learns nothing.

    Args:
        guessing: the loss of guessing; None where the loss has no such mark.

    Raises:
        SanityError: the loss is not finite, or much worse than guessing.
    """
    if not math.isfinite(loss):
        raise _collapsed(where, epoch, "the loss is not finite", learning_rate)
    if guessing is not None and loss > WORST_LOSS * guessing:
        raise _collapsed(where, epoch, f"the loss of {loss:.2f} is much worse than that of guessing, {guessing:.2f}", learning_rate)


def refuse_standstill(where: str, epoch: int, moved: bool, loss: float, guessing: float | None, learning_rate: float) -> None:
    """Stop training that no gradient comes from though there is much to learn: its units are dead.

    Args:
        moved: whether any gradient of the batch was not zero.

    Raises:
        SanityError: they are.
    """
    if not moved and guessing is not None and loss > guessing / 2:
        raise _collapsed(where, epoch, f"no gradient reaches the weights at a loss of {loss:.2f}", learning_rate)


def _collapsed(where: str, epoch: int, reason: str, learning_rate: float) -> SanityError:
    return SanityError(f"{where}: training collapsed in epoch {epoch}: {reason}; lower {where}.learning_rate (now {learning_rate:g})")
