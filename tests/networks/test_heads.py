"""Classifiers as convolutions and region heads, against the published classifiers, loops and numerical gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.networks.classifier import Classifier, published
from pipeline.networks.heads import load_classifier
from pipeline.networks.region_head import RegionForm, RegionHead
from pipeline.networks.registry import ARCHITECTURES, own_keys
from pipeline.stage.errors import ModelError


def published_network(name: str, classes: int) -> nn.Module:
    torch.manual_seed(0)
    if name == "efficientnet_lite0":
        from efficientnet_lite_pytorch import EfficientNet

        whole: nn.Module = EfficientNet.from_name("efficientnet-lite0", num_classes=classes)
    else:
        from torchvision.models import get_model

        whole = get_model(name, weights=None, num_classes=classes)
    for module in whole.modules():  # statistics that are not those of the first moment
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(module.num_features) / 10, torch.rand(module.num_features) + 0.5
    return whole.eval()


def split_network(name: str, whole: nn.Module) -> tuple[nn.Module, Classifier]:
    """The same network as convolutions and the convolutional classifier."""
    tensors = whole.state_dict()
    trunk = ARCHITECTURES[name].build()
    trunk.load_state_dict(own_keys(name, tensors))
    return trunk.eval(), load_classifier(name, published(ARCHITECTURES[name].classifier, tensors))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_classifier_and_convolutional_form_are_equal_on_one_window(name: str) -> None:
    whole = published_network(name, 11)
    trunk, classifier = split_network(name, whole)
    image = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        expected, scores = whole(image), classifier(trunk(image))
    assert scores.shape == (2, 11, 1, 1)
    scale = expected.abs().max()
    assert torch.allclose(scores[:, :, 0, 0] / scale, expected / scale, atol=1e-4)
    assert expected.std() > 0


@pytest.mark.parametrize(("name", "stride"), [("alexnet", 32), ("squeezenet1_1", 16), ("resnet50", 32), ("efficientnet_lite0", 32)])
def test_larger_image_gives_one_score_per_window(name: str, stride: int) -> None:
    trunk, classifier = split_network(name, published_network(name, 3))
    with torch.inference_mode():
        maps = trunk(torch.randn(1, 3, 224 + 2 * stride, 224 + stride))
        scores = classifier(maps)
        window = classifier.form.window
        last = classifier(maps[:, :, 2 : 2 + window, 1 : 1 + window])
    assert scores.shape == (1, 3, 3, 2)
    assert torch.allclose(scores[:, :, 2, 1], last[:, :, 0, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["alexnet", "resnet50", "squeezenet1_1"])
def test_small_image_is_classified_as_torchvision_does(name: str) -> None:
    whole = published_network(name, 4)
    trunk, classifier = split_network(name, whole)
    image = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        assert torch.allclose(classifier(trunk(image))[:, :, 0, 0], whole(image), atol=1e-4)


def test_weights_of_another_classifier_are_refused() -> None:
    form = ARCHITECTURES["resnet50"].classifier
    with pytest.raises(ModelError, match=r"fc\.bias is missing"):
        load_classifier("resnet50", {})
    with pytest.raises(ModelError, match=r"fc\.weight is .* expected \(4, 2048, 1, 1\)"):
        load_classifier("resnet50", {"fc.weight": torch.zeros(4, 512), "fc.bias": torch.zeros(4)})
    assert published(form, {"fc.weight": torch.zeros(4, 2048)}) == {}


def loop_descriptor(head: RegionHead, maps: torch.Tensor, scores: torch.Tensor | None) -> torch.Tensor:
    """The region descriptor of one image, location by location."""
    form, regions = head.form, []
    if form.regions is None or scores is None:
        windows = [maps]
    else:
        rows, columns = scores.shape[1:]
        order = sorted(((float(scores[:, y, x].max()), y, x) for y in range(rows) for x in range(columns)), reverse=True)
        windows = [maps[:, y : y + form.window, x : x + form.window] for _, y, x in order[: form.regions]]
    for window in windows:
        vector = {"mean": window.mean(dim=(1, 2)), "max": window.amax(dim=(1, 2)), "flattened": window.flatten()}[form.content]
        regions.append(head.weight @ (vector / vector.norm() + head.shift) + head.bias)
    total: torch.Tensor = torch.stack(regions).sum(dim=0)
    normalised: torch.Tensor = total / total.norm()
    return normalised


@pytest.mark.parametrize("content", ["mean", "max", "flattened"])
@pytest.mark.parametrize("regions", [1, 3, 50])
def test_region_descriptor_is_the_loops(content: str, regions: int) -> None:
    torch.manual_seed(1)
    head = RegionHead(RegionForm(2, regions, content), 5, 4)  # type: ignore[arg-type]
    nn.init.normal_(head.weight)
    nn.init.normal_(head.shift)
    nn.init.normal_(head.bias)
    maps, scores = torch.rand(2, 5, 4, 5), torch.randn(2, 7, 3, 4)
    found = head(maps, scores)
    expected = torch.stack([loop_descriptor(head, own, score) for own, score in zip(maps, scores, strict=True)])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("content", ["mean", "max"])
def test_without_choice_of_regions_the_whole_map_is_one(content: str) -> None:
    torch.manual_seed(2)
    head = RegionHead(RegionForm(2, None, content), 5, 4)  # type: ignore[arg-type]
    nn.init.normal_(head.weight)
    maps = torch.rand(1, 5, 3, 4)
    assert torch.allclose(head(maps, None), loop_descriptor(head, maps[0], None)[None], atol=1e-6)


def test_gradient_of_the_region_descriptor_is_the_numerical_one() -> None:
    torch.manual_seed(3)
    convolution, output = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 2, 1).double()
    head = RegionHead(RegionForm(2, 2, "mean"), 4, 3).double()
    nn.init.normal_(head.weight)
    images = torch.rand(2, 3, 6, 7, dtype=torch.double)

    def descriptors(kernel: torch.Tensor, shift: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        maps = F.relu(F.conv2d(images, kernel, convolution.bias))
        scores = F.avg_pool2d(output(maps), 2, 1)
        values = torch.func.functional_call(head, {"shift": shift, "weight": weight, "bias": bias}, (maps, scores))
        assert isinstance(values, torch.Tensor)
        return values

    inputs = tuple(item.detach().clone().requires_grad_() for item in (convolution.weight, head.shift, head.weight, head.bias))
    assert torch.autograd.gradcheck(descriptors, inputs, eps=1e-6, atol=1e-6)


def test_head_survives_its_tensors_and_card() -> None:
    head = RegionHead(RegionForm(3, 2, "max"), 5, 4)
    nn.init.normal_(head.weight)
    again = RegionHead.from_state(*head.state())
    maps, scores = torch.rand(1, 5, 4, 4), torch.rand(1, 2, 2, 2)
    assert torch.equal(head(maps, scores), again(maps, scores))
    with pytest.raises(ModelError, match="card says"):
        RegionHead.from_state(head.state()[0], head.state()[1] | {"channels": 6})


def test_only_classifiers_that_were_published_with_dropout_have_it() -> None:
    with torch.device("meta"):
        published = {name: {type(layer) for layer in Classifier(architecture.classifier, 2)} for name, architecture in ARCHITECTURES.items()}
    without = {name for name, layers in published.items() if not layers & {nn.Dropout, nn.Dropout2d}}
    assert without == {"resnet50", "resnet101", "resnet152"}
