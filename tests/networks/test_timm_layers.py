"""Architectures of timm: their maps are timm's own, for any size; their weights are read as timm reads them; the methods run on them."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.nn import functional as F

from pipeline.aggregation.describers.registry import new_describer
from pipeline.aggregation.params import METHODS, refuse_unreadable_features
from pipeline.contracts.features.feature_parameters import ExtractParameters
from pipeline.extraction.inference import FeatureExtractor
from pipeline.extraction.loading import LoadedBatch
from pipeline.extraction.planning import PlannedBatch
from pipeline.maps.fresh import fresh_maps
from pipeline.networks import __main__ as stage
from pipeline.networks.classifier import Classifier
from pipeline.networks.listing import layer_channels, print_network
from pipeline.networks.network import Network
from pipeline.networks.params import NetworkSource
from pipeline.networks.registry import load_convolutions, load_from_folder, load_network, own_keys
from pipeline.networks.timm_layers import TimmLayers, build, published
from pipeline.networks.trainable import trainable
from pipeline.networks.weights import fetch_weights
from pipeline.stage.errors import ModelError, ParameterError, SourceError
from pipeline.stage.parameters import validate
from pipeline.stage.tables import read_json
from tests.loopback import LoopbackServer
from tests.pictures import pixels

CONVOLUTIONAL, CONVNEXT = "timm/resnet18", "timm/convnext_atto"
REGISTERS, SWIN = "timm/vit_pwee_patch16_reg1_gap_256", "timm/swin_s3_tiny_224"
SIZES = [(224, 224), (96, 150), (133, 75)]
"""Height and width: the model's own, whole patches one way, neither."""


def network(name: str, *layers: str) -> tuple[Any, Network]:
    """A model with random weights, and the network of it."""
    torch.manual_seed(0)
    model = build(name)
    return model, Network(TimmLayers(model), layers or ("final",), published(name).preprocessing)


def images(height: int, width: int) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)).clamp(-1.5, 1.5)


def timms_own(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """The final maps by timm's calls alone."""
    features: torch.Tensor = model.forward_features(batch)
    if features.ndim == 3:
        side = model.patch_embed.patch_size[0]
        grid = -(-batch.shape[2] // side), -(-batch.shape[3] // side)
        features = features[:, model.num_prefix_tokens :].movedim(2, 1)
        return features.reshape(*features.shape[:2], *grid)
    return features.movedim(3, 1) if getattr(model, "output_fmt", "NCHW") == "NHWC" else features


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [CONVOLUTIONAL, CONVNEXT, REGISTERS, SWIN])
def test_maps_are_timms_own(name: str, size: tuple[int, int]) -> None:
    model, own = network(name)
    batch = images(*size)
    whole = F.pad(batch, (0, -size[1] % 4, 0, -size[0] % 4)) if name == SWIN else batch
    with torch.inference_mode():
        maps = own.feature_maps(batch)
        torch.testing.assert_close(maps, timms_own(model, whole), atol=1e-5, rtol=1e-5)
    cells = tuple(length / own.stride for length in size)
    assert all(abs(found - expected) <= 1 for found, expected in zip(maps.shape[2:], cells, strict=True))
    assert own.channels == maps.shape[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer", "stride"), [(CONVOLUTIONAL, "layer3", 16), (CONVNEXT, "stages.1", 8), (SWIN, "layers.2", 16)])
def test_a_stage_is_a_layer(name: str, layer: str, stride: int) -> None:
    model, own = network(name, layer)
    with torch.inference_mode():
        (expected,) = model.forward_intermediates(images(224, 224), indices=[list(own.layer_names).index(layer)], intermediates_only=True)[-1:]
        torch.testing.assert_close(own.feature_maps(images(224, 224)), expected, atol=1e-5, rtol=1e-5)
    assert (own.stride, own.channels) == (stride, expected.shape[1])


def test_a_block_of_a_transformer_is_a_layer_without_class_and_register_tokens() -> None:
    model, both = network(REGISTERS, "blocks.2", "final")
    with torch.inference_mode():
        block, final = both.feature_maps(images(96, 150)).split(both.parts, dim=1)
        tokens = model.norm_pre(model._pos_embed(model.patch_embed(images(96, 150))))
        for each in model.blocks[:3]:
            tokens = each(tokens)
        expected = tokens[:, model.num_prefix_tokens :].movedim(2, 1).unflatten(2, (6, 10))
        torch.testing.assert_close(block, expected, atol=1e-5, rtol=1e-5)
    assert model.num_prefix_tokens == 1
    assert final.shape == block.shape
    assert (both.stride, both.receptive_field, both.first_centre) == (16, None, 8.0)


def test_the_receptive_field_of_convolutions_is_what_gradients_see() -> None:
    model, own = network(CONVOLUTIONAL, "layer2")
    for weights in model.parameters():
        torch.nn.init.uniform_(weights, 0.1, 1.0)  # none is zero, as those of the last norms are at first
    assert own.receptive_field == 99
    batch = images(256, 256).requires_grad_()
    cell = int((128 - own.first_centre) / own.stride)
    own.feature_maps(batch)[0, :, cell, cell].sum().backward()
    assert batch.grad is not None
    seen = batch.grad[0].abs().sum(dim=(0, 1)).nonzero()[:, 0]
    assert int(seen[-1] - seen[0]) + 1 == own.receptive_field
    assert float(seen[0] + seen[-1] + 1) / 2 == own.first_centre + cell * own.stride


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("vitamin_small_224", 16),
        ("pvt_v2_b0", 32),
        ("deit_tiny_distilled_patch16_224", 16),
        ("xcit_nano_12_p16_224", 16),
        ("swinv2_cr_tiny_ns_224", 32),
    ],
)
def test_every_pixel_is_in_a_cell_of_embeddings_of_other_kinds(name: str, stride: int) -> None:
    """Patches of a network's maps, that overlap, with two class tokens, and whose attention is among channels."""
    model, own = network(f"timm/{name}")
    height, width = 133, 75
    with torch.inference_mode():
        maps = own.feature_maps(images(height, width))
        patch = 4 if name.startswith("swin") else stride  # its windows are padded by itself
        padded = F.pad(images(height, width), (0, -width % patch, 0, -height % patch))
        last = model.forward_intermediates(padded, indices=1, norm=True, intermediates_only=True, output_fmt="NCHW")[-1]
    assert own.stride == stride
    assert maps.shape[2:] == (-(-height // stride), -(-width // stride))
    if name not in ("pvt_v2_b0", "xcit_nano_12_p16_224"):  # whose convolutions pad by themselves
        torch.testing.assert_close(maps, last, atol=1e-5, rtol=1e-5)


def test_gates_of_the_whole_map_are_said_to_see_the_whole_image() -> None:
    assert network("timm/seresnet18")[1].receptive_field is None
    assert network(CONVNEXT)[1].first_centre == 16.0


@pytest.mark.slow
def test_models_of_one_size_are_refused_before_any_photograph() -> None:
    with pytest.raises(ModelError, match=r"gives no maps of images of \d+×\d+ pixels: .*doesn't match model"):
        network("timm/beit_base_patch16_224")[1].channels  # noqa: B018 -- computed here


@pytest.mark.slow
@pytest.mark.parametrize("name", [CONVOLUTIONAL, REGISTERS])
def test_weights_with_and_without_their_classifier_give_the_same_network(name: str) -> None:
    import timm

    torch.manual_seed(3)
    whole = timm.create_model(name.removeprefix("timm/"), num_classes=7).eval()
    tensors = own_keys(name, whole.state_dict())
    classifier = published(name).classifier
    assert not any(key.startswith(f"{classifier}.") for key in tensors)
    without = own_keys(name, tensors)
    assert tensors.keys() == without.keys()
    assert all(torch.equal(value, without[key]) for key, value in tensors.items())
    own = load_network(name, tensors)
    with torch.inference_mode():
        torch.testing.assert_close(own.feature_maps(images(256, 256)), timms_own(whole, images(256, 256)), atol=1e-5, rtol=1e-5)


def test_position_embeddings_of_another_size_are_resized_as_timm_does() -> None:
    import timm

    other: Any = timm.create_model(REGISTERS.removeprefix("timm/"), img_size=192, num_classes=0)
    tensors = own_keys(REGISTERS, other.state_dict())
    assert tensors["pos_embed"].shape[1] == 16 * 16
    assert other.pos_embed.shape[1] == 12 * 12


def test_weights_of_another_model_are_refused() -> None:
    tensors = {key: value for key, value in build(CONVOLUTIONAL).state_dict().items() if not key.startswith("layer4.1")}
    with pytest.raises(ModelError, match=r"weights are not those of timm/resnet18: .*layer4\.1"):
        own_keys(CONVOLUTIONAL, tensors)
    with pytest.raises(ModelError, match=r"weights are not those of timm/resnet18: .*layer4\.1"):
        load_network(CONVOLUTIONAL, tensors)


def test_unknown_names_are_refused_with_names_like_them() -> None:
    with pytest.raises(ModelError, match=r"'timm/resnet19' is unknown to timm .*names like it: .*resnet18"):
        build("timm/resnet19")
    with pytest.raises(ModelError, match=r"layer 'layer9' is unknown; there are: act1, layer1.*final"):
        network(CONVOLUTIONAL, "layer9")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"architecture": "timm/", "weights": "file"}, r"net\.architecture: unknown; allowed: alexnet, .*timm/NAME"),
        ({"architecture": "timm/../x", "weights": "file"}, r"net\.architecture: unknown"),
        ({"architecture": "resnet18", "weights": "torchvision"}, r"net\.architecture: unknown"),
        ({"architecture": CONVOLUTIONAL, "weights": "torchvision"}, "come by timm, file or url"),
        ({"architecture": CONVOLUTIONAL, "weights": "timm"}, "weights: timm needs"),
        ({"architecture": "vgg16", "weights": "timm", "sha256": "0" * 64}, "weights: timm needs"),
    ],
)
def test_sections_that_cannot_be_meant_are_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        validate(NetworkSource, section, "networks.net", "params.yaml")


@pytest.mark.slow
def test_the_stage_downloads_from_where_timm_says_and_writes_a_card(workplace: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    model, own = network(REGISTERS)
    content = save(model.state_dict())
    server.files["/huggingface.co/timm/vit_pwee_patch16_reg1_gap_256.sbb_in1k/resolve/main/model.safetensors"] = content
    monkeypatch.setenv("RETRIEVAL_MIRROR", server.url)
    section = f"networks: {{net: {{architecture: {REGISTERS}, weights: timm, sha256: {hashlib.sha256(content).hexdigest()}}}}}\n"
    (workplace / "params.yaml").write_text(section, encoding="utf-8")
    stage.main(["net"])
    card = read_json(workplace / "data/networks/net/network.json")
    assert card["weights"]["published"] == "timm/vit_pwee_patch16_reg1_gap_256.sbb_in1k"
    assert card["weights"]["licence"] == "apache-2.0"
    assert (card["stride"], card["receptive_field"], card["default_layer"], card["classes"]) == (16, None, "final", 0)
    loaded = load_from_folder(Path("data/networks/net"))
    shown = np.stack([pixels(0, 150, 96)])
    with torch.inference_mode():
        torch.testing.assert_close(loaded.feature_maps(loaded.preprocess(shown)), own.feature_maps(own.preprocess(shown)))
    wrong = NetworkSource(architecture=REGISTERS, weights="timm", sha256="0" * 64)
    with pytest.raises(SourceError, match="expected 000000"):
        fetch_weights("net", wrong, workplace)


@pytest.mark.slow
def test_layers_are_listed_with_where_the_weights_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_network(REGISTERS)
    printed = capsys.readouterr().out
    assert "| blocks.11 | 16       | the whole image" in printed
    assert "Weights: https://huggingface.co/timm/vit_pwee_patch16_reg1_gap_256.sbb_in1k/resolve/main/model.safetensors" in printed
    assert "Licence: apache-2.0" in printed
    assert layer_channels(CONVOLUTIONAL, "layer3") == 256


@pytest.mark.slow
@pytest.mark.parametrize("name", [CONVOLUTIONAL, CONVNEXT, REGISTERS])
@pytest.mark.parametrize("size", [(224, 224), (96, 150)])
def test_what_is_trained_gives_the_final_maps_with_timms_keys_and_gradients(name: str, size: tuple[int, int]) -> None:
    model, own = network(name)
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    trained, batch = load_convolutions(name, tensors), images(*size)
    maps = trained(batch)
    torch.testing.assert_close(maps, own.feature_maps(batch), rtol=1e-5, atol=1e-5)
    assert trained.state_dict().keys() == tensors.keys()
    maps.sum().backward()
    assert all(parameter.grad is not None for key, parameter in trained.named_parameters() if not key.startswith(("head.", "fc_norm.")))


@pytest.mark.parametrize(("name", "window"), [(CONVOLUTIONAL, 7), (REGISTERS, 16), (SWIN, 7)])
def test_a_classifier_is_the_mean_of_the_cells_of_the_published_size(name: str, window: int) -> None:
    form = trainable(name, 5).classifier
    assert (form.window, form.side) == (window, {REGISTERS: 256}.get(name, 224))
    classifier, maps = Classifier(form, 3), torch.randn(2, 5, window, window + 1)
    weight, bias = classifier.state_dict().values()
    means = [maps[..., at : at + window].mean(dim=(2, 3)) for at in (0, 1)]
    expected = torch.stack([F.linear(mean, weight[:, :, 0, 0], bias) for mean in means])
    torch.testing.assert_close(classifier(maps)[:, :, 0].movedim(2, 0), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", [CONVOLUTIONAL, CONVNEXT, REGISTERS, SWIN])
def test_the_papers_methods_run_on_them(name: str) -> None:
    small: dict[str, dict[str, Any]] = {
        "rmac": {"regional_dimensions": 4},
        "selective": {"local_dimensions": 4, "codebook": 3, "truncate": 2, "floor": 3},
        "clusters": {"local_dimensions": 3, "feature_counts": [2, 5], "colour_counts": []},
        "patches": {"levels": 2, "dimensions": 4},
    }
    shown = np.stack([pixels(index, 150, 133) for index in range(6)])
    loaded = LoadedBatch(PlannedBatch(Path("s"), tuple(f"i{index}" for index in range(6)), 150, 133), shown)
    own = network(name)[1]
    whole, patches = (
        fresh_maps(loaded, FeatureExtractor(own, ExtractParameters(patch_levels=levels, patch_sides=(96,)), torch.device("cpu")), with_pictures=False)
        for levels in (0, 2)
    )
    for method, parameters in small.items():
        maps = patches if method == "patches" else whole
        describer = new_describer(method, METHODS[method].model_validate(parameters))
        with torch.inference_mode():
            describer.fit(partial(iter, [maps]))
            rows = describer.describe_each(maps)
        assert rows.isfinite().all(), method
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(rows.shape[:-1]))
        assert (rows[0] - rows[1]).abs().max() > 1e-3, f"{method}: different photographs have different descriptors"


def test_the_class_token_is_a_layer_and_a_descriptor() -> None:
    name = "timm/vit_tiny_patch16_224"
    model, both = network(name, "class_token", "final")
    assert both.layer_names[-2:] == ("final", "class_token")
    assert (both.receptive_field, both.channels) == (None, 2 * 192)
    with torch.inference_mode():
        tokens = model.forward_features(images(96, 160))
        maps = both.feature_maps(images(96, 160))
        alone = network(name, "class_token")[1].feature_maps(images(96, 160))
    torch.testing.assert_close(alone, tokens[:, 0, :, None, None].expand(-1, -1, 6, 10), atol=1e-5, rtol=1e-5)
    class_token, patches = F.normalize(tokens[:, 0], dim=1), tokens[:, 1:]
    pooled = {"mean": patches.mean(dim=1), "gem": patches.clamp(min=1e-6).pow(3).mean(dim=1).pow(1 / 3)}
    expected = {"none": class_token} | {
        kind: F.normalize(torch.cat([class_token, F.normalize(own, dim=1)], 1), dim=1) for kind, own in pooled.items()
    }
    for kind, vectors in expected.items():
        describer = new_describer("class_token", METHODS["class_token"].model_validate({"patches": kind}))
        own = describer.describe_scale(alone if kind == "none" else maps)  # type: ignore[attr-defined]
        torch.testing.assert_close(own, vectors, atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="layer 'class_token' is unknown"):
        network(CONVOLUTIONAL, "class_token")[1].channels  # noqa: B018 -- computed here


def test_a_class_token_needs_its_layers() -> None:
    parameters = METHODS["class_token"].model_validate({"patches": "gem"})
    refuse_unreadable_features("class_token", parameters, 0, ("class_token", "final"))
    with pytest.raises(ParameterError, match=r"network\.layers: aggregate.* with patches: gem reads \[class_token, final\], not \[final\]"):
        refuse_unreadable_features("class_token", parameters, 0, ("final",))
