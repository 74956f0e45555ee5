"""Files of weights, read as tensors only: safetensors, and state dictionaries of the framework."""

from pathlib import Path

import torch

from pipeline.contracts.models import load_tensors
from pipeline.stage.errors import ModelError

WHOLE = ("state_dict", "extractor")
"""Names under which files of several things hold the network."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors or state-dict file; anything but finite tensors is refused.

    Raises:
        ModelError: not such a file, or weights that are no numbers.
    """
    content = load_tensors(path) if path.suffix == ".safetensors" else _state_dict(path)
    broken = [name for name, value in content.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ModelError(f"{path}: {len(broken)} of {len(content)} tensors hold values that are not finite, the first is {broken[0]}")
    return content


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted reader fails in many ways on foreign bytes
        if type(error).__name__ == "UnpicklingError":  # whose text advises to switch the check off
            raise ModelError(
                f"{path}: holds more than tensors, or is damaged; save the network's state_dict as safetensors or by torch.save"
            ) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path}: not a file of tensors ({reason})") from None
    for whole in WHOLE:
        content = content.get(whole, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ModelError(f"{path}: not a dictionary of tensors by name")
    return content
