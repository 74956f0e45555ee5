"""SALAD's head: patch tokens shared among clusters by optimal transport, next to the class token (Izquierdo and Civera, CVPR 2024, §3)."""

import math
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.contracts.models import State
from pipeline.stage.errors import ModelError

SALAD = "salad.safetensors"
HEAD, BACKBONE = "aggregator.", "backbone.model."
"""What the names of a published file begin with: those of this head, and those of the transformer."""
DUSTBIN = "dust_bin"


class SaladHead(nn.Module):
    """Maps of patch tokens and class tokens to descriptors; its weights have the names of the published files.

    Args:
        channels: K of the tokens.
        hidden: values between the two layers of each of its three networks.
        clusters: m.
        cluster_dimensions: l, of a patch's feature.
        token_dimensions: g, of what the class token becomes.
    """

    def __init__(self, channels: int, hidden: int, clusters: int, cluster_dimensions: int, token_dimensions: int) -> None:
        super().__init__()
        self.token_features = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, token_dimensions))
        self.cluster_features = _places(channels, hidden, cluster_dimensions)
        self.score = _places(channels, hidden, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        self.channels, self.clusters = channels, clusters
        self.dimensions = token_dimensions + clusters * cluster_dimensions

    def forward(self, maps: torch.Tensor, tokens: torch.Tensor, iterations: int = 3) -> torch.Tensor:
        """Patch tokens (B, K, H, W) and class tokens (B, K) to (B, g + l·m), l2-normalised (equation 8).

        Raises:
            ModelError: no more patches than clusters, so that nothing is left for the dustbin.
        """
        shares = self.assigned(self.score(maps).flatten(2), iterations)
        aggregated = F.normalize(torch.bmm(self.cluster_features(maps).flatten(2), shares.mT), dim=1)
        described = torch.cat([F.normalize(self.token_features(tokens), dim=1), aggregated.flatten(1)], dim=1)
        return F.normalize(described, dim=1)

    def assigned(self, scores: torch.Tensor, iterations: int) -> torch.Tensor:
        """Shares (B, m, n) of n patches in m clusters, by Sinkhorn's iterations on scores (B, m, n) and the dustbin's (equations 4 to 6).

        Every cluster takes as much as a patch has, the dustbin what is left.
        """
        batch, clusters, patches = scores.shape
        if patches <= clusters:
            raise ModelError(f"SALAD shares patches among {clusters} clusters, and an image has only {patches}; use larger photographs")
        scores = torch.cat([scores, self.dust_bin.expand(batch, 1, patches)], dim=1)
        rows = scores.new_zeros(clusters + 1)
        rows[-1] = math.log(patches - clusters)
        left, right = scores.new_zeros(batch, clusters + 1), scores.new_zeros(batch, patches)
        for _ in range(iterations):
            left = rows - torch.logsumexp(scores + right.unsqueeze(1), dim=2)
            right = -torch.logsumexp(scores + left.unsqueeze(2), dim=1)
        return (scores + left.unsqueeze(2) + right.unsqueeze(1)).exp()[:, :-1]

    def state(self) -> State:
        """Its tensors and its card, as contracts.models.Learned gives them."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}, {"kind": type(self).__name__}

    @classmethod
    def from_state(cls, tensors: Mapping[str, torch.Tensor], _card: Mapping[str, Any]) -> Self:
        """The inverse of `state`.

        Raises:
            ModelError: tensors of another form.
        """
        try:
            hidden, channels = tensors["token_features.0.weight"].shape
            sizes = [len(tensors[f"{part}.weight"]) for part in ("score.3", "cluster_features.3", "token_features.2")]
            with torch.device("meta"):
                head = cls(channels, hidden, *sizes)
            head.load_state_dict(dict(tensors), assign=True)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError(f"the tensors are not those of a head of SALAD: {' '.join(str(error).split())}") from None
        return head.requires_grad_(False).eval()

    @classmethod
    def published(cls, content: Mapping[str, torch.Tensor], channels: int) -> Self | None:
        """Of a file of weights; None where it has none.

        Args:
            channels: of the network's maps.

        Raises:
            ModelError: it does not fit them.
        """
        if HEAD + DUSTBIN not in content:
            return None
        head = cls.from_state({name.removeprefix(HEAD): value.float() for name, value in content.items() if name.startswith(HEAD)}, {})
        if head.channels != channels:
            raise ModelError(f"the head of SALAD reads tokens of {head.channels} channels, the network gives {channels}")
        return head


def backbone_of(content: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's own tensors of a file of weights, by their own names.

    Raises:
        ModelError: a file of SALAD holds something else besides.
    """
    if HEAD + DUSTBIN not in content:
        return content
    strangers = [name for name in content if not name.startswith((HEAD, BACKBONE))]
    if strangers:
        raise ModelError(f"expected {BACKBONE}* and {HEAD}* in a file of SALAD, got {strangers[0]} as well")
    return {name.removeprefix(BACKBONE): value for name, value in content.items() if name.startswith(BACKBONE)}


def _places(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers at every place; the dropout between them, which only training has, keeps the names of the published files."""
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Identity(), nn.ReLU(), nn.Conv2d(hidden, outputs, 1))
