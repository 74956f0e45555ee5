"""ResNet-50, -101 and -152 (He et al., 2016), without the final pooling and classifier."""

from collections import OrderedDict

from torch import nn

from pipeline.networks.architecture import Architecture
from pipeline.networks.classifier import ClassifierForm, pooled_classifier

LAYERS = {"conv1": "relu", "pool1": "maxpool"} | {f"layer{number}": f"layer{number}" for number in range(1, 5)}

CLASSIFIER = ClassifierForm(7, "fc", pooled_classifier("fc", 2048))


def _convolutional(name: str) -> nn.Module:
    from torchvision import models

    children = list(getattr(models, name)(weights=None).named_children())[:-2]
    return nn.Sequential(OrderedDict(children))


def _architecture(name: str, file: str) -> Architecture:
    return Architecture(lambda: _convolutional(name), LAYERS, "layer4", CLASSIFIER, "layer3", url=f"https://download.pytorch.org/models/{file}")


RESNET50 = _architecture("resnet50", "resnet50-0676ba61.pth")
RESNET101 = _architecture("resnet101", "resnet101-63fe2227.pth")
RESNET152 = _architecture("resnet152", "resnet152-394f9c45.pth")
