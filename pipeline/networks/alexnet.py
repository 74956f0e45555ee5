"""AlexNet (Krizhevsky et al., 2012) in torchvision's one-column form."""

from torch import nn

from pipeline.networks.architecture import Architecture
from pipeline.networks.classifier import ClassifierForm, two_hidden_layers


def _convolutions() -> nn.Module:
    from torchvision.models import alexnet

    features: nn.Module = alexnet(weights=None).features
    return features


ALEXNET = Architecture(
    build=_convolutions,
    layers={"conv1": "1", "pool1": "2", "conv2": "4", "pool2": "5", "conv3": "7", "conv4": "9", "conv5": "11", "pool5": "12"},
    default="pool5",
    classifier=ClassifierForm(6, "6", two_hidden_layers(256, 6, 4096, drop_first=True), "classifier.", hidden={"fc6": "2", "fc7": "5"}),
    frozen="conv4",
    prefix="features.",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
)
