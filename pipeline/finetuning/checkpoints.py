"""Where training stands, in one file that is replaced as a whole: a killed run goes on from it and ends with the same weights."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.stage.errors import ModelError
from pipeline.stage.tables import replacing

NAME = "checkpoint.safetensors"
STATE = "state"


@dataclass
class Progressed:
    """How far training has come.

    Attributes:
        epoch: from 1, the one under way.
        batches: finished ones of it.
        items: (n, w) of it, in their order.
        loss, active: sums over its finished items.
        curve: a row per finished epoch, epoch 0 the state before training.
        best_epoch, best: where the validation was best, and its mAP; 0 and −1 before the first epoch.
        best_weights: of the network then.
        scale: of the loss, with float16.
    """

    epoch: int
    items: torch.Tensor
    batches: int = 0
    loss: float = 0.0
    active: float = 0.0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    best_epoch: int = 0
    best: float = -1.0
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    scale: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoint of one run, in its scratch folder.

    Args:
        seconds: between two checkpoints within an epoch.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self.path, self.seconds = folder / NAME, seconds
        self._written = time.monotonic()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._written >= self.seconds

    def save(self, progressed: Progressed, weights: dict[str, torch.Tensor], momenta: dict[str, torch.Tensor]) -> None:
        """Write everything that the end depends on."""
        groups = {"weights": weights, "momenta": momenta, "best": progressed.best_weights, "plan": {"items": progressed.items}}
        tensors = {f"{group}/{key}": value.detach().cpu().contiguous() for group, content in groups.items() for key, value in content.items()}
        numbers = {key: value for key, value in vars(progressed).items() if key not in ("items", "best_weights")}
        with replacing(self.path) as partial:
            save_file(tensors, partial, {STATE: json.dumps(numbers)})
        self._written = time.monotonic()

    def load(self) -> tuple[Progressed, dict[str, torch.Tensor], dict[str, torch.Tensor]] | None:
        """(progress, weights, momenta) of an interrupted run; None where there is none.

        Raises:
            ModelError: the file is damaged.
        """
        if not self.path.exists():
            return None
        groups: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "momenta": {}, "best": {}, "plan": {}}
        try:
            with safe_open(self.path, "pt") as file:
                numbers = json.loads(file.metadata()[STATE])
                for name in file.keys():  # noqa: SIM118
                    group, _, key = name.partition("/")
                    groups[group][key] = file.get_tensor(name)
            progressed = Progressed(items=groups["plan"]["items"], best_weights=groups["best"], **numbers)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{self.path}: not a checkpoint ({' '.join(str(error).split())}); remove it to train from the start") from None
        return progressed, groups["weights"], groups["momenta"]
