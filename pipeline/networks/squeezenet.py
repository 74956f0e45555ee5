"""SqueezeNet 1.1 (Iandola et al., 2016)."""

import torchvision

from pipeline.networks.architecture import Architecture

SQUEEZENET1_1 = Architecture(
    build=lambda: torchvision.models.squeezenet1_1(weights=None).features,
    layers={
        "conv1": "1",
        "pool1": "2",
        "fire2": "3",
        "fire3": "4",
        "pool3": "5",
        "fire4": "6",
        "fire5": "7",
        "pool5": "8",
        "fire6": "9",
        "fire7": "10",
        "fire8": "11",
        "fire9": "12",
    },
    default="fire9",
    prefix="features.",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
)
