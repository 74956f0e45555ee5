"""Every describer by the method that `aggregate.method` of params.yaml names."""

from pathlib import Path
from typing import Any

import torch

from pipeline.aggregation.describers.activation_clusters import ActivationClusters
from pipeline.aggregation.describers.bag_of_words import BagOfWords
from pipeline.aggregation.describers.class_scores import ClassScores
from pipeline.aggregation.describers.describer import Describer
from pipeline.aggregation.describers.global_pooling import GlobalPooling
from pipeline.aggregation.describers.multi_resolution_patches import MultiResolutionPatches
from pipeline.aggregation.describers.region_descriptor import RegionDescriptor
from pipeline.aggregation.describers.regional_max import RegionalMax
from pipeline.aggregation.describers.selective_features import SelectiveFeatures
from pipeline.aggregation.params import METHODS
from pipeline.contracts.models import load_model
from pipeline.contracts.parameters import validate

DESCRIBERS: dict[str, type[Describer]] = {
    "mac": GlobalPooling,
    "spoc": GlobalPooling,
    "gem": GlobalPooling,
    "crow": GlobalPooling,
    "rmac": RegionalMax,
    "clusters": ActivationClusters,
    "selective": SelectiveFeatures,
    "patches": MultiResolutionPatches,
    "class_scores": ClassScores,
    "region_descriptor": RegionDescriptor,
    "bag_of_words": BagOfWords,
}


def load_describer(folder: Path, device: torch.device) -> tuple[Describer, dict[str, Any]]:
    """The describer that the learn stage wrote, and its card.

    Raises:
        ModelError, ShardError: missing or damaged.
    """
    tensors, card = load_model(folder)
    method = card["method"]
    parameters = validate(METHODS[method], card["parameters"], f"aggregate.{method}", str(folder))
    describer = DESCRIBERS[method](method, parameters)
    describer.restore(tensors, card, device)
    return describer, card
