"""VGG16 and VGG19 (Simonyan and Zisserman, 2015). A layer convB_I means its output after ReLU."""

from torch import nn

from pipeline.networks.architecture import Architecture
from pipeline.networks.classifier import ClassifierForm, two_hidden_layers


def _layers(convolutions: tuple[int, ...]) -> dict[str, str]:
    """Names by block, from the number of convolutions in each."""
    names, index = {}, 0
    for block, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            names[f"conv{block}_{number}"] = str(index + 1)
            index += 2
        names[f"pool{block}"] = str(index)
        index += 1
    return names


def _vgg16() -> nn.Module:
    from torchvision.models import vgg16

    features: nn.Module = vgg16(weights=None).features
    return features


def _vgg19() -> nn.Module:
    from torchvision.models import vgg19

    features: nn.Module = vgg19(weights=None).features
    return features


CLASSIFIER = ClassifierForm(7, "6", two_hidden_layers(512, 7, 4096, drop_first=False), "classifier.", hidden={"fc6": "1", "fc7": "4"})
VGG16 = Architecture(
    build=_vgg16,
    layers=_layers((2, 2, 3, 3, 3)),
    default="pool5",
    classifier=CLASSIFIER,
    frozen="conv5_2",
    prefix="features.",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
)
VGG19 = Architecture(
    build=_vgg19,
    layers=_layers((2, 2, 4, 4, 4)),
    default="pool5",
    classifier=CLASSIFIER,
    frozen="conv5_3",
    prefix="features.",
    url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
)
