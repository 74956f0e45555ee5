"""Networks: layers by name, stride and receptive field against gradients, batch-norm folding, weights and preprocessing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.contracts.models import save_tensors
from pipeline.networks import __main__ as stage
from pipeline.networks.network import Network
from pipeline.networks.params import NetworkSource
from pipeline.networks.preprocessing import PREPROCESSINGS
from pipeline.networks.registry import ARCHITECTURES, load_from_folder, load_network, own_keys
from pipeline.networks.traced_layers import TracedLayers
from pipeline.networks.weight_files import read_weights
from pipeline.networks.weights import fetch_weights
from pipeline.stage.errors import ModelError, SourceError
from tests.loopback import LoopbackServer


def random_weights(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights that keep activations in range; running variances positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = ARCHITECTURES[name].build().state_dict()
    weights = {}
    for key, value in shapes.items():
        if not value.is_floating_point():
            weights[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif value.dim() > 1:
            weights[key] = torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5
        else:
            weights[key] = torch.rand(value.shape, generator=generator) * 0.5 + 0.5
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "squeezenet1_1", "resnet50", "efficientnet_lite0"])
def test_feature_maps_are_those_of_the_plain_network(name: str) -> None:
    """Tracing, folding and channels-last change nothing but rounding."""
    weights = random_weights(name)
    plain = ARCHITECTURES[name].build()
    plain.load_state_dict(weights)
    plain.eval()
    network = load_network(name, weights)
    images = network.preprocess(np.random.default_rng(1).integers(0, 256, (2, 96, 128, 3), np.uint8))
    with torch.inference_mode():
        expected = plain(images)
        actual = network.feature_maps(images)
    torch.testing.assert_close(actual, expected, atol=2e-4 * float(expected.abs().max()), rtol=1e-3)


def positive_weights(name: str) -> dict[str, torch.Tensor]:
    """Weights that let every input pixel of the receptive field through."""
    return {key: value.abs() * 0.5 + 1e-3 if value.is_floating_point() else value for key, value in random_weights(name).items()}


@pytest.mark.parametrize(
    ("name", "layer"), [("alexnet", "conv5"), ("alexnet", "pool5"), ("vgg16", "conv3_3"), ("squeezenet1_1", "fire9"), ("resnet50", "layer2")]
)
def test_stride_and_receptive_field_are_what_gradients_see(name: str, layer: str) -> None:
    network = load_network(name, positive_weights(name), [layer])
    assert network.receptive_field is not None
    side = network.receptive_field * 2 + 8 * network.stride
    images = torch.full((1, 3, side, side), 0.1, requires_grad=True)
    maps = network.feature_maps(images)
    middle = maps.shape[2] // 2

    def seen(column: int) -> torch.Tensor:
        gradient = torch.autograd.grad(maps[0, :, middle, column].sum(), images, retain_graph=True)[0]
        return gradient[0].abs().sum(dim=(0, 1)).nonzero().flatten()

    here, there = seen(middle), seen(middle + 1)
    if "pool" in layer or name in ("alexnet", "squeezenet1_1", "resnet50"):  # a maximum passes the gradient of one pixel on: an upper bound
        assert here[-1] - here[0] + 1 <= network.receptive_field
        assert here[-1] - here[0] + 1 > network.receptive_field * 0.5
    else:
        assert here[-1] - here[0] + 1 <= network.receptive_field
    assert abs(int(there.float().mean() - here.float().mean()) - network.stride) <= network.stride * 0.6


def test_known_geometries() -> None:
    """Araujo et al. (2019) and the papers' strides."""
    known = {("vgg16", "pool5"): (32, 212), ("vgg16", "conv5_3"): (16, 196), ("alexnet", "conv5"): (16, 163), ("alexnet", "pool5"): (32, 195)}
    for (name, layer), geometry in known.items():
        network = load_network(name, random_weights(name), [layer])
        assert (network.stride, network.receptive_field) == geometry, (name, layer)


def test_first_centres() -> None:
    """By hand, from Araujo et al. (2019), equation 4: a layer moves the centre by ((k − 1)/2 − padding) strides of its input."""
    known = {
        ("vgg16", "pool5"): 16.0,
        ("vgg16", "conv5_3"): 8.0,
        ("resnet50", "layer4"): 0.5,
        ("squeezenet1_1", "fire9"): 15.5,
        ("alexnet", "conv5"): 15.5,
    }
    for (name, layer), first in known.items():
        assert load_network(name, random_weights(name), [layer]).first_centre == first, (name, layer)


def test_first_centre_is_the_middle_of_what_gradients_see() -> None:
    module = torch.nn.Sequential(
        torch.nn.ZeroPad2d((1, 2, 1, 2)), torch.nn.Conv2d(3, 4, 5, 2), torch.nn.AvgPool2d(3, 2), torch.nn.Conv2d(4, 2, 3, padding=1)
    )
    network = Network(TracedLayers(module, {"last": "3"}), ["last"], PREPROCESSINGS["torchvision"])
    images = torch.zeros(1, 3, 96, 96, requires_grad=True)
    gradient = torch.autograd.grad(module(images)[0, :, 10, 10].sum(), images)[0]
    seen = gradient[0].abs().sum(dim=(0, 1)).nonzero().flatten()
    middle = (float(seen[0]) + float(seen[-1]) + 1) / 2
    assert middle == network.first_centre + 10 * network.stride
    assert len(seen) == network.receptive_field


@pytest.mark.slow
def test_vgg_layers_are_after_their_relu() -> None:
    from torchvision.models import vgg19

    network = load_network("vgg19", random_weights("vgg19"))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = vgg19(weights=None).features
    features.load_state_dict(random_weights("vgg19"))
    with torch.inference_mode():
        expected = images
        for index, module in enumerate(features):
            expected = module(expected)
            if index == 35:  # conv5_4 is module 34, its ReLU the next
                break
        torch.testing.assert_close(network.feature_maps(images, ["conv5_4"]), expected, atol=1e-3, rtol=1e-3)
    assert (expected >= 0).all()


def test_hyper_columns_are_pooled_and_concatenated() -> None:
    weights = random_weights("vgg16")
    network = load_network("vgg16", weights, ["conv5_3", "conv5_2"], pooled=True)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    single = load_network("vgg16", weights)
    with torch.inference_mode():
        maps = network.feature_maps(images)
        expected = torch.cat([torch.max_pool2d(single.feature_maps(images, [layer]), 2, 2) for layer in ("conv5_3", "conv5_2")], dim=1)
    assert maps.shape == (1, 1024, 2, 3)
    torch.testing.assert_close(maps, expected)
    assert network.stride == 32
    assert network.channels == 1024


def test_layers_of_several_sizes_meet_at_the_smallest() -> None:
    network = load_network("squeezenet1_1", random_weights("squeezenet1_1"), ["fire4", "fire9"])
    with torch.inference_mode():
        assert network.feature_maps(torch.rand(1, 3, 96, 96)).shape[1] == 256 + 512


def test_unknown_layers_and_architectures_name_the_known() -> None:
    with pytest.raises(ModelError, match="layer 'pool9' is unknown; there are: conv1"):
        load_network("alexnet", random_weights("alexnet"), ["pool9"])
    with pytest.raises(ModelError, match="architecture 'lenet' is unknown; there are: alexnet"):
        load_network("lenet", {})


@pytest.mark.parametrize("name", ["alexnet", "efficientnet_lite0"])
def test_input_that_was_not_preprocessed_is_refused(name: str) -> None:
    network = load_network(name, random_weights(name))
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
    network.feature_maps(network.preprocess(pixels))
    plain = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with pytest.raises(ModelError, match=r"float32 input with values from 0 to 255: the network takes float32 from -\d.* `network.preprocess"):
        network.feature_maps(plain.float())
    with pytest.raises(ModelError, match="uint8 input"):
        network.feature_maps(plain)
    with pytest.raises(ModelError, match="float64 input"):
        network.feature_maps(network.preprocess(pixels).double())


def test_too_small_images_are_named() -> None:
    network = load_network("alexnet", random_weights("alexnet"))
    with pytest.raises(ModelError, match="images of 20×16 pixels are too small for layers pool5"):
        network.feature_maps(torch.rand(1, 3, 16, 20))


def test_published_keys_become_the_architectures_own() -> None:
    own = random_weights("resnet50")
    full = {**own, "fc.weight": torch.ones(3, 3), "fc.bias": torch.ones(3)}
    assert own_keys("resnet50", full).keys() == own.keys()
    children = [name for name, _ in ARCHITECTURES["resnet50"].build().named_children()]
    numbered = {f"{children.index(key.partition('.')[0])}.{key.partition('.')[2]}": value for key, value in own.items()}
    assert own_keys("resnet50", numbered).keys() == own.keys()
    vgg = random_weights("vgg16")
    assert own_keys("vgg16", {f"features.{key}": value for key, value in vgg.items()}).keys() == vgg.keys()


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(ModelError, match=r"not those of vgg16: 26 tensors are missing, the first is 0\.bias"):
        own_keys("vgg16", random_weights("resnet50"))
    with pytest.raises(ModelError, match="tensors have another shape"):
        load_network("alexnet", {key: value[:1] for key, value in random_weights("alexnet").items()})


def test_preprocessing_conventions() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    image = pixels.astype(np.float64)
    expected = {
        "torchvision": (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "caffe": image[..., ::-1] - [103.939, 116.779, 123.68],
        "tensorflow": (image - 127) / 128,
    }
    for name, values in expected.items():
        output = PREPROCESSINGS[name](pixels)
        np.testing.assert_allclose(output.numpy(), values.transpose(0, 3, 1, 2), atol=1e-4)
        assert output.is_contiguous(memory_format=torch.channels_last)


def test_the_stage_writes_weights_and_card(workplace: Path) -> None:
    (workplace / "params.yaml").write_text("networks: {net: {architecture: efficientnet_lite0, weights: package}}\n", encoding="utf-8")
    stage.main(["net"])
    network = load_from_folder(Path("data/networks/net"), ["block10"])
    assert network.stride == 16
    card = (workplace / "data/networks/net/network.json").read_text(encoding="utf-8")
    assert '"architecture": "efficientnet_lite0"' in card
    assert '"preprocessing": "tensorflow"' in card


def source(**section: object) -> NetworkSource:
    return NetworkSource.model_validate({"architecture": "squeezenet1_1", **section})


def test_weights_from_files_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRIEVAL_DATA", str(tmp_path))
    save_tensors(tmp_path / "w.safetensors", {"a": torch.ones(2)})
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.safetensors").keys() == read_weights(tmp_path / "w.pth").keys()
    with pytest.raises(SourceError, match=r"sha256 is .*, expected 00000000"):
        fetch_weights("net", source(weights="file", location="w.pth", sha256="00000000"), tmp_path)
    with pytest.raises(SourceError, match=r"networks\.net: .*gone\.pth is not a file"):
        fetch_weights("net", source(weights="file", location="gone.pth", sha256="00000000"), tmp_path)
    with pytest.raises(SourceError, match="no package ships weights of squeezenet1_1"):
        fetch_weights("net", source(weights="package"), tmp_path)


class Payload:
    """What a hostile weights file would run when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


def test_files_with_anything_but_tensors_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="holds more than tensors"):
        read_weights(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""
    torch.save({"a": 3}, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match="not a dictionary of tensors"):
        read_weights(tmp_path / "odd.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ModelError, match="not a file of tensors"):
        read_weights(tmp_path / "text.pth")


def test_weights_are_downloaded_and_verified(server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    server.files["/example.com/net-1.pth"] = content
    monkeypatch.setenv("RETRIEVAL_MIRROR", server.url)
    good = source(weights="url", location="https://example.com/net-1.pth", sha256=hashlib.sha256(content).hexdigest()[:10])
    assert fetch_weights("net", good, tmp_path).read_bytes() == content
    with pytest.raises(SourceError, match="expected 0123456789"):
        fetch_weights("net", good.model_copy(update={"sha256": "0123456789"}), tmp_path / "..")
    server.files["/download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"] = content
    with pytest.raises(SourceError, match="expected b8a52dc0"):
        fetch_weights("net", source(weights="torchvision"), tmp_path)


def test_real_weights_of_squeezenet(real_data: Path) -> None:
    tensors = own_keys("squeezenet1_1", read_weights(real_data / "weights" / "squeezenet1_1_features.safetensors"))
    network = load_network("squeezenet1_1", tensors, preprocessing="caffe")
    with torch.inference_mode():
        maps = network.feature_maps(network.preprocess(np.full((1, 96, 128, 3), 128, np.uint8)))
    assert maps.shape == (1, 512, 5, 7)
    assert (network.stride, network.channels) == (16, 512)
