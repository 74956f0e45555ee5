"""Architectures of the library timm (`timm/NAME`): their stages or blocks as layers, patch tokens as maps, weights as timm reads them.

Only what every model of timm has is used: `feature_info`, `forward_intermediates`, `forward_features` and `pretrained_cfg`.
"""

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.networks.classifier import ClassifierForm, pooled_classifier
from pipeline.networks.geometry import Geometry
from pipeline.networks.params import TIMM
from pipeline.networks.preprocessing import Preprocessing
from pipeline.networks.traced_layers import TracedLayers
from pipeline.stage.errors import ModelError, SourceError

FINAL = "final"
"""The layer of the whole network: its last maps after the final norm or convolution, without class and register tokens."""
CLASS_TOKEN = "class_token"  # noqa: S105 -- a layer
"""The layer of a transformer's class token after the final norm, the same in every cell of the patches' grid."""
HEAD = "head"
"""The layer of a classifier that training adds."""
TAGS = {
    "in1k": "imagenet-1k",
    "in12k": "imagenet-21k",
    "in21k": "imagenet-21k",
    "in22k": "imagenet-21k",
    "lvd142m": "lvd-142m",
    "lvd1689m": "lvd-1689m",
    "laion400m": "laion-400m",
    "laion2b": "laion-2b",
    "openai": "openai-400m",
    "webli": "webli",
}
"""Training sets by the parts of a tag of timm's that mean them, as in vit_small_patch14_dinov2.lvd142m."""
ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
"""What lets a transformer take images of any size, the best first: position embeddings are interpolated, sides padded to whole patches."""
LOCAL = frozenset({"add", "iadd", "relu", "batch_norm", "cat", "gelu", "silu", "hardtanh", "getattr", "size"})
"""Functions in a graph that look at one place at a time."""


def build(architecture: str, **arguments: Any) -> nn.Module:
    """A model of timm, in evaluation mode, without a classifier where none is asked for.

    Raises:
        ModelError: timm has no such model, or none that gives maps.
    """
    import timm

    name = architecture.removeprefix(TIMM)
    if not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, timm.list_models(), 5) or ["none"]
        raise ModelError(f"architecture {architecture!r} is unknown to timm {timm.__version__}; names like it: {', '.join(near)}")
    model = _created(name, {"num_classes": 0} | arguments)
    if not hasattr(model, "forward_intermediates") or not getattr(model, "feature_info", None):
        raise ModelError(f"{architecture}: timm gives no maps of it; choose a model with forward_intermediates")
    return model.eval()


def _created(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    for flags in ANY_SIZE:  # which of them a model knows, its constructor alone says, and some take what they do not know
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model: nn.Module = timm.create_model(name, **arguments, **flags)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error) or not flags:
                raise
            continue
        known = {name for ancestor in type(model).__mro__[:-1] for name in signature(ancestor).parameters}
        if known >= flags.keys():
            return model
    raise AssertionError("the last try is without further arguments")


def own_tensors(architecture: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published weights by the keys of the model without its classifier, read as timm reads them: position embeddings of another size are resized.

    Raises:
        ModelError: weights of another model.
    """
    name, classifier = architecture.removeprefix(TIMM), published(architecture).classifier
    classes = len(tensors[f"{classifier}.weight"]) if f"{classifier}.weight" in tensors else 0
    overlay = {"state_dict": dict(tensors), "num_classes": classes, "custom_load": False}
    try:
        model: Any = _created(name, {"num_classes": classes, "pretrained": True, "pretrained_cfg_overlay": overlay})
    except (RuntimeError, KeyError) as error:
        raise _other_weights(architecture, error) from None
    model.reset_classifier(0)
    return {key: value.contiguous() for key, value in model.state_dict().items()}


def load(architecture: str, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """A model with the weights that `own_tensors` gave.

    Raises:
        ModelError: weights of another model.
    """
    model = build(architecture)
    try:
        model.load_state_dict(dict(tensors), assign=True)
    except RuntimeError as error:
        raise _other_weights(architecture, error) from None
    return model


def _other_weights(architecture: str, error: Exception) -> ModelError:
    reason = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
    return ModelError(f"the weights are not those of {architecture}: {reason}")


@cache
def stages(architecture: str) -> tuple[str, ...]:
    """The stages or blocks of a model, from the input to the output, by the names of their modules."""
    return tuple(name for name in TimmLayers(build(architecture)).names if name not in (FINAL, CLASS_TOKEN))


@cache
def _window(architecture: str) -> int:
    """Cells on a side of the final maps of an image of the published size."""
    return max(1, round(published(architecture).side / TimmLayers(build(architecture)).stride))


def classifier_form(architecture: str, channels: int) -> ClassifierForm:
    """One layer over the mean of the cells that an image of the published size has: the classifier that training adds, by the key HEAD."""
    window = _window(architecture)
    return ClassifierForm(window, HEAD, pooled_classifier(HEAD, channels, window), side=published(architecture).side)


def convolutions(model: nn.Module) -> nn.Module:
    """A model that gives its final maps (B, K, H', W') of images (B, 3, H, W), with its own keys and gradients."""
    maps = _Maps(model, [FINAL])
    model.forward = lambda images: maps(images)[0]
    return model


@dataclass(frozen=True)
class Published:
    """What timm says of a model's weights.

    Attributes:
        hub_id: on the Hugging Face hub; empty where they are not there.
        url: of the file there.
        trained_on: training sets that the weights' tag names, as far as they are listed.
        classifier: the key of the layer that gives the scores.
        side: pixels of the square images that they were published for.
    """

    hub_id: str
    url: str
    license: str
    trained_on: tuple[str, ...]
    classifier: str
    preprocessing: Preprocessing
    side: int


def published(architecture: str) -> Published:
    """About the weights that timm names for a model.

    Raises:
        ModelError: timm has no such model.
    """
    import timm

    name = architecture.removeprefix(TIMM)
    found: Any = timm.get_pretrained_cfg(name, allow_unregistered=True) if timm.is_model(name.partition(".")[0]) else None
    if found is None:
        build(architecture)
        raise ModelError(f"architecture {architecture!r}: timm names no weights of this kind")
    hub_id = found.hf_hub_id or ""
    file = found.hf_hub_filename or "model.safetensors"
    classifier = found.classifier if isinstance(found.classifier, str) else (found.classifier or ("",))[0]
    preprocessing = Preprocessing("RGB", 1 / 255, tuple(found.mean), tuple(found.std))
    url = f"https://huggingface.co/{hub_id}/resolve/main/{file}" if hub_id else found.url or ""
    trained_on = tuple(dict.fromkeys(TAGS[part] for part in (found.tag or "").split("_") if part in TAGS))
    return Published(hub_id, url, found.license or "", trained_on, classifier, preprocessing, int(found.input_size[-1]))


def address(name: str, architecture: str) -> str:
    """Where the weights that timm names for a model can be downloaded.

    Raises:
        SourceError: nowhere.
    """
    found = published(architecture)
    if not found.url:
        raise SourceError(f"networks.{name}: timm names no weights of {architecture}; use weights: file or url")
    return found.url


class TimmLayers:
    """The layers of a model: its stages or blocks by their names in the module, `final`, and `class_token` where it has one."""

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        info: Any = self._model.feature_info
        info = info if isinstance(info, list) else info.info
        self._stages = {str(stage["module"]): (place, int(stage["reduction"])) for place, stage in enumerate(info)}

    @property
    def stride(self) -> int:
        """Of the final maps."""
        return list(self._stages.values())[-1][1]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all layers, from the input to the output."""
        return (*self._stages, FINAL, *([CLASS_TOKEN] if getattr(self._model, "cls_token", None) is not None else []))

    def geometry(self, layer: str) -> Geometry:
        """Of a layer's cells: of convolutions without gates computed from the graph; every other cell may see the whole image.

        Raises:
            ModelError: unknown layer.
        """
        self._require(layer)
        path = list(self._stages)[-1] if layer in (FINAL, CLASS_TOKEN) else layer
        stride = self._stages[path][1]
        whole = Geometry(stride, None, stride / 2)
        if layer == CLASS_TOKEN:
            return whole
        try:
            traced = TracedLayers(self._model, {path: path})
            found, before = traced.geometry(path), traced.before(path)
        except Exception:  # tracing fails in many ways on code that looks at its input
            return whole
        if found.stride != stride:
            return whole
        functions = {getattr(node.target, "__name__", str(node.target)) for node in before if node.op in ("call_function", "call_method")}
        return found if functions <= LOCAL else replace(found, receptive_field=None)

    def module(self, layers: Sequence[str]) -> nn.Module:
        """A module from images (B, 3, H, W) to a list of the layers' maps.

        Raises:
            ModelError: unknown layer.
        """
        for layer in layers:
            self._require(layer)
        return _Maps(self._model, [layer if layer in (FINAL, CLASS_TOKEN) else self._stages[layer][0] for layer in layers])

    def _require(self, layer: str) -> None:
        if layer not in self.names:
            raise ModelError(f"layer {layer!r} is unknown; there are: {', '.join(self.names)}")


class _Maps(nn.Module):
    """Images to the maps of stages by their places, of FINAL and of CLASS_TOKEN."""

    def __init__(self, model: nn.Module, places: Sequence[int | str]) -> None:
        super().__init__()
        self.model: Any = model
        self.places = tuple(places)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, H, W) to maps (B, K, H', W').

        Raises:
            ModelError: images of a size that the model does not take.
        """
        images = self._padded(images)
        try:
            return self._taken(images)
        except (AssertionError, AttributeError) as error:
            size = f"{images.shape[3]}×{images.shape[2]}"
            raise ModelError(f"timm's {type(self.model).__name__} gives no maps of images of {size} pixels: {error}") from None
        except RuntimeError as error:
            if "must match the size" not in str(error):
                raise
            raise ModelError(f"timm's {type(self.model).__name__} takes images of one size alone, which photographs do not have") from None

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        """With sides of whole patches, at the right and at the bottom, where the model itself pads none. Patches that overlap are convolutions,
        which pad as they do; of patches of a network's maps, the model counts whole ones alone."""
        embedding = self._embedding
        if hasattr(self.model, "patch_embeds"):  # a convolution without padding before each stage
            height = width = self.model.feature_info[-1]["reduction"]
        elif getattr(embedding, "dynamic_img_pad", False) and not hasattr(embedding, "backbone"):
            return images
        elif hasattr(embedding, "feat_ratio"):
            height, width = embedding.feat_ratio(as_scalar=False)
        elif _cuts_patches(embedding):
            height, width = embedding.proj.stride
        else:
            return images
        return F.pad(images, (0, -images.shape[3] % width, 0, -images.shape[2] % height))

    def _taken(self, images: torch.Tensor) -> list[torch.Tensor]:
        wanted = sorted({place for place in self.places if isinstance(place, int)})
        found: dict[int | str, torch.Tensor] = {}
        if wanted:
            maps = self.model.forward_intermediates(images, indices=wanted, intermediates_only=True, output_fmt="NCHW")
            found.update(zip(wanted, maps, strict=True))
        if len(wanted) < len(set(self.places)):
            features = self.model.forward_features(images)
            found[FINAL] = self._as_maps(features, images) if self._has_grid(features) else self._last_stage(images)
            if CLASS_TOKEN in self.places:
                found[CLASS_TOKEN] = features[:, 0, :, None, None].expand_as(found[FINAL])
        return [found[place] for place in self.places]

    def _has_grid(self, features: torch.Tensor) -> bool:
        """Whether features are maps already, or tokens whose grid the model tells."""
        return features.ndim == 4 or hasattr(self._embedding, "dynamic_feat_size")

    @property
    def _embedding(self) -> Any:
        """Of patches; None where the model has none, or one for each stage."""
        return getattr(self.model, "patch_embed", None) or getattr(self.model, "embeds", None)

    def _last_stage(self, images: torch.Tensor) -> torch.Tensor:
        """The maps of the last stage or block after the final norm."""
        maps: torch.Tensor = self.model.forward_intermediates(images, indices=1, norm=True, intermediates_only=True, output_fmt="NCHW")[-1]
        return maps

    def _as_maps(self, features: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        if features.ndim == 4:
            return features.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else features
        size = self._embedding.dynamic_feat_size(tuple(images.shape[2:]))
        patches = features[:, getattr(self.model, "num_prefix_tokens", 0) :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *size)


def _cuts_patches(embedding: Any) -> bool:
    """Whether an embedding is a convolution whose patches neither overlap nor are padded."""
    convolution = getattr(embedding, "proj", None)
    return isinstance(convolution, nn.Conv2d) and convolution.kernel_size == convolution.stride and convolution.padding == (0, 0)
