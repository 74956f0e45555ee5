"""SqueezeNet 1.1 (Iandola et al., 2016)."""

from torch import nn

from pipeline.networks.architecture import Architecture
from pipeline.networks.classifier import ClassifierForm, Parts, WindowMean


def _classifier(classes: int) -> Parts:
    return Parts({"0": nn.Dropout(), "1": nn.Conv2d(512, classes, 1), "2": nn.ReLU(), "mean": WindowMean(13)})


def _convolutions() -> nn.Module:
    from torchvision.models import squeezenet1_1

    features: nn.Module = squeezenet1_1(weights=None).features
    return features


SQUEEZENET1_1 = Architecture(
    build=_convolutions,
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
    classifier=ClassifierForm(13, "1", _classifier, "classifier."),
    frozen="fire7",
    prefix="features.",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
)
