"""Learned key points, matched by LightGlue (Lindenberger et al., ICCV 2023): XFeat with LighterGlue, ALIKED and DISK, as kornia builds them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pipeline.imaging.images import touched_pixels
from pipeline.maps.pictures import Pixels
from pipeline.networks.weight_files import read_weights
from pipeline.reranking.key_points import KeyPoints
from pipeline.reranking.learned_weights import weights_file
from pipeline.reranking.params import SpatialVerificationParameters
from pipeline.stage.catalogue import Box
from pipeline.stage.errors import ModelError

SMALLEST = 32
"""Pixels of a side below which a detector finds nothing."""
OLDER = re.compile(r"^(self_attn|cross_attn)\.(\d+)\.")
"""Names of layers in the first published files of LightGlue."""
UNREAD = re.compile(r"log_assignment\.\d+\.r|confidence_thresholds")
"""What published files of LightGlue hold besides its weights: numbers of an older form, and a buffer that its settings decide."""
STATISTICS = ("running_mean", "running_var")
"""Of batch normalisation, which are learned without being parameters."""


class LearnedFeatures:
    """A detector and the matcher that was trained for it.

    Args:
        parameters: whose `local_features` are not SIFT.
        folder: that holds copies of the weights' files; None: the files that the parameters name.

    Raises:
        SourceError: a file is missing, or another one.
        ModelError: weights of something else.
    """

    threads = 1
    """The network itself uses the threads."""

    def __init__(self, parameters: SpatialVerificationParameters, device: torch.device, folder: Path | None = None) -> None:
        self.kind, self.device, self.most = parameters.local_features, device, parameters.key_points
        files = [weights_file(name, own, folder) for name, own in parameters.weights.items()]
        self._detector = _detector(self.kind, self.most)
        _fill(self._detector.net if self.kind == "xfeat" else self._detector, read_weights(files[0]), files[0])
        self._matcher = _matcher(self.kind, parameters.score)
        _fill(self._matcher, _renamed(read_weights(files[1])), files[1])
        for model in (self._detector, self._matcher):
            model.to(device).eval().requires_grad_(False)

    def key_points(self, pixels: Pixels, box: Box | None = None) -> KeyPoints:
        height, width = pixels.shape[:2]
        left, top, right, bottom = (0, 0, width, height) if box is None else touched_pixels(box, width, height)
        own = np.array(pixels[top:bottom, left:right])  # a copy, as torch takes no array that cannot be written to
        if min(own.shape[:2]) < SMALLEST:
            return KeyPoints(np.zeros((0, 2), np.float32), np.zeros((0, 1), np.float32), width, height)
        image = torch.from_numpy(own).to(self.device).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            places, descriptors = self._found(image)
        moved = places.float().cpu().numpy() + np.array([left, top], np.float32)
        return KeyPoints(moved, descriptors.float().cpu().numpy(), width, height)

    def _found(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Places (n, 2) and descriptors (n, D)."""
        if self.kind == "xfeat":
            own = self._detector.detectAndCompute(image)[0]
            return own["keypoints"], own["descriptors"]
        own = self._detector(image, n=self.most, pad_if_not_divisible=True)[0] if self.kind == "disk" else self._detector(image)[0]
        return own.keypoints, own.descriptors

    def pairs(self, query: KeyPoints, image: KeyPoints) -> npt.NDArray[np.int64]:
        if not len(query.places) or not len(image.places):
            return np.zeros((0, 2), np.int64)
        with torch.inference_mode():
            found = self._matcher({"image0": self._batch(query), "image1": self._batch(image)})
        matched: npt.NDArray[np.int64] = found["matches"][0].cpu().numpy()
        return matched

    def _batch(self, own: KeyPoints) -> dict[str, torch.Tensor]:
        return {
            "keypoints": torch.from_numpy(own.places)[None].to(self.device),
            "descriptors": torch.from_numpy(own.descriptors)[None].to(self.device),
            "image_size": torch.tensor([[own.width, own.height]], device=self.device),
        }


def _detector(kind: str, most: int) -> Any:
    from kornia import feature  # here, as it takes seconds

    match kind:
        case "xfeat":
            return feature.XFeat(top_k=most)
        case "aliked":
            return feature.ALIKED("aliked-n16", max_num_keypoints=most, detection_threshold=0.0)
        case "disk":
            return feature.DISK()
        case _:
            raise ValueError(f"local features {kind!r} are not learned; there are: xfeat, aliked, disk")


def _matcher(kind: str, score: float) -> Any:
    """LightGlue with random weights: kornia's own constructor downloads some where it is told the features."""
    from kornia.feature import LightGlue

    settings_of: dict[str, Any] = {**LightGlue.features[kind], "weights": None, "filter_threshold": score}
    return LightGlue(None, **settings_of)  # type: ignore[arg-type]


def _renamed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a published file by the names of the module."""
    found = {OLDER.sub(r"transformers.\2.\1.", name.removeprefix("matcher.")): value for name, value in tensors.items()}
    return {name: value for name, value in found.items() if not UNREAD.fullmatch(name)}


def _fill(module: nn.Module, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """Give a module its weights; buffers that no training changes keep what the module computes."""
    own, parameters = module.state_dict(), dict(module.named_parameters())
    learned = [name for name in own if name in parameters or name.endswith(STATISTICS)]
    missing = [name for name in learned if name not in tensors or tensors[name].shape != own[name].shape]
    strangers = [name for name in tensors if name not in own]
    if missing or strangers:
        raise ModelError(f"{file}: not the weights of {type(module).__name__}, for example {(missing or strangers)[0]}")
    module.load_state_dict({name: tensors[name] for name in learned}, strict=False)
