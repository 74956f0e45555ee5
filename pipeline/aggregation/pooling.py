"""Whole-map poolings: a feature map (K, H, W), or a batch (B, K, H, W), to (…, K), not normalised."""

import torch
import torch.nn.functional as F


def mac(maps: torch.Tensor) -> torch.Tensor:
    """Maximum activations of convolutions (Razavian et al., 2016; paper 1, §3)."""
    return maps.amax(dim=(-2, -1))


def spoc(maps: torch.Tensor, centre_prior: bool = False) -> torch.Tensor:
    """Sum-pooled convolutional features (Babenko and Lempitsky, 2015).

    Args:
        centre_prior: weigh locations by a Gaussian around the centre; its deviation is a third of the distance from the centre to the nearest border.
    """
    if not centre_prior:
        return maps.sum(dim=(-2, -1))
    height, width = maps.shape[-2:]
    y = torch.arange(height, device=maps.device, dtype=maps.dtype) - (height - 1) / 2
    x = torch.arange(width, device=maps.device, dtype=maps.dtype) - (width - 1) / 2
    deviation = min(height, width) / 2 / 3
    weights = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * deviation**2))
    return (maps * weights).sum(dim=(-2, -1))


def gem(maps: torch.Tensor, power: float = 3.0, floor: float = 1e-6) -> torch.Tensor:
    """Generalised mean (Radenović et al., 2018): p-th root of the mean of x^p; smaller activations are raised to `floor`."""
    raised = maps.clamp(min=floor)
    peaks = raised.amax(dim=(-2, -1), keepdim=True)  # dividing by it keeps high powers finite
    return (raised / peaks).pow(power).mean(dim=(-2, -1)).pow(1 / power) * peaks.flatten(-3)


def regional_gem(maps: torch.Tensor, power: float = 2.5, side: int = 5) -> torch.Tensor:
    """Regional GeM (Shao et al., 2023): the mean of a map (…, K, H, W) and of the generalised means of its neighbourhoods.

    Args:
        side: of a neighbourhood in cells, odd; smaller along sides of the map that have no room for its reflection.

    Returns:
        (…, K, H, W), not pooled yet.
    """
    down, right = (min(side // 2, length - 1) for length in maps.shape[-2:])
    raised = maps.clamp(min=0)
    peaks = raised.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    padded = F.pad((raised / peaks).pow(power), (right, right, down, down), mode="reflect")
    means = F.avg_pool2d(padded, (2 * down + 1, 2 * right + 1), stride=1).pow(1 / power) * peaks
    return (maps + means) / 2


def crow(maps: torch.Tensor, spatial_power: float = 0.5, epsilon: float = 1e-6) -> torch.Tensor:
    """Cross-dimensional weighting (Kalantidis et al., 2016), for maps after ReLU.

    Locations weigh (s / ‖s‖₂)^spatial_power with s the sum over the channels; channels weigh the logarithm of the inverse
    share of their non-zero locations.
    """
    summed = maps.sum(dim=-3, keepdim=True)
    norm = summed.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp(min=torch.finfo(maps.dtype).tiny)
    pooled = (maps * (summed / norm).clamp(min=0).pow(spatial_power)).sum(dim=(-2, -1))
    shares = (maps > 0).to(maps.dtype).mean(dim=(-2, -1))
    channels = shares.shape[-1]
    weights = torch.log((channels * epsilon + shares.sum(dim=-1, keepdim=True)) / (epsilon + shares))
    return pooled * torch.where(shares > 0, weights, torch.zeros_like(weights))
