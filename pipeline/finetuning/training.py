"""The loop that trains any step: batches in parts, validation after every epoch, checkpoints, early stop."""

import logging
import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import assert_never

import numpy as np
import torch
from torch import nn

from pipeline.contracts.running.progress import Progress
from pipeline.contracts.running.settings import settings
from pipeline.finetuning.augmentation import Pixels
from pipeline.finetuning.checkpoints import Checkpoints, Progressed
from pipeline.finetuning.params import StepParameters
from pipeline.finetuning.step import TrainingStep, View
from pipeline.finetuning.validation import LEAST_SPREAD, refuse_collapse, refuse_divergence, refuse_standstill, validate_descriptors
from pipeline.stage.errors import ModelError

log = logging.getLogger(__name__)


class Training:
    """One step, trained.

    Args:
        name: of the step in params.yaml.
        parameters: its section.
    """

    def __init__(self, name: str, parameters: StepParameters, step: TrainingStep, checkpoints: Checkpoints) -> None:
        self.where, self.parameters, self.step, self.checkpoints = f"finetune.{name}", parameters, step, checkpoints
        self.network = step.network
        self.pool = ThreadPoolExecutor(settings().threads)
        self.trained_items = 0

    def run(self) -> Progressed:
        """Train to the end, from a checkpoint where there is one; the network then has its final weights.

        Raises:
            SanityError: training has collapsed.
            ModelError: a checkpoint of another network.
        """
        with self.pool:
            try:
                progressed = self._resume() or self._begin()
                while progressed.epoch <= self.parameters.epochs and not self._stopped(progressed):
                    self._train_epoch(progressed)
                    self._end_epoch(progressed)
            except BaseException:
                self.pool.shutdown(wait=False, cancel_futures=True)
                raise
        if self.parameters.patience and progressed.best_weights:
            self.network.restore(progressed.best_weights, str(self.checkpoints.path))
            log.info("%s: epoch %d had the best validation, its weights are kept.", self.where, progressed.best_epoch)
        return progressed

    def _begin(self) -> Progressed:
        self.network.test_mode()
        self.step.prepare()
        self._optimizer()
        progressed = Progressed(1, torch.empty(0, 1, dtype=torch.long))
        progressed.items = self.step.plan(1, self._validated(progressed, 0, None))
        return progressed

    def _resume(self) -> Progressed | None:
        found = self.checkpoints.load()
        if found is None:
            return None
        progressed, weights, momenta = found
        self.network.restore(weights, str(self.checkpoints.path))
        self._optimizer()
        for name, parameter in self._named.items():
            if name in momenta:
                self.optimizer.state[parameter]["momentum_buffer"] = momenta[name].to(parameter.device)
        if progressed.scale:
            self.scaler.load_state_dict(progressed.scale)
        log.info("%s: resumed in epoch %d after %d batches.", self.where, progressed.epoch, progressed.batches)
        return progressed

    def _optimizer(self) -> None:
        try:
            trained = self.network.freeze(self.parameters.frozen)
        except ModelError as error:
            raise ModelError(f"{self.where}.{error}") from None
        parameters = self.parameters
        self.optimizer = torch.optim.SGD(trained, parameters.learning_rate, parameters.momentum, weight_decay=parameters.weight_decay)
        self.scaler = torch.amp.GradScaler(self.network.device.type, enabled=parameters.precision == "float16")
        chosen = {id(parameter) for parameter in trained}
        named = ((f"{name}.{key}", value) for name, module in self.network.modules.items() for key, value in module.named_parameters())
        self._named: dict[str, nn.Parameter] = {name: value for name, value in named if id(value) in chosen}

    def _stopped(self, progressed: Progressed) -> bool:
        patience = self.parameters.patience
        if not patience or progressed.epoch - 1 - progressed.best_epoch < patience:
            return False
        log.info("%s: no better validation for %d epochs, stopped after epoch %d.", self.where, patience, progressed.epoch - 1)
        return True

    def _train_epoch(self, progressed: Progressed) -> None:
        batches = list(progressed.items.split(self.parameters.batch))
        title = f"{self.where}, epoch {progressed.epoch} of {self.parameters.epochs}"
        with Progress(title, len(progressed.items), self.step.unit) as progress:
            progress.advance(sum(map(len, batches[: progressed.batches])), skipped=True)
            for items, views in self._rendered(batches, progressed):
                self.network.train_mode(self.step.batch_statistics, self.step.dropout)
                self._train_batch(items, views, progressed, len(batches))
                progress.advance(len(items))
                self.trained_items += len(items)
                if self.checkpoints.due and progressed.batches < len(batches):
                    self._save(progressed)

    def _rendered(self, batches: list[torch.Tensor], progressed: Progressed) -> Iterator[tuple[torch.Tensor, dict[View, Future[tuple[Pixels, ...]]]]]:
        """The batches that are left with their views, which threads render one batch ahead."""

        def submit(number: int) -> dict[View, Future[tuple[Pixels, ...]]]:
            views = self.step.views(batches[number], self._key(progressed.epoch, number))
            return {view: self.pool.submit(self.step.render, view) for view in views}

        left = range(progressed.batches, len(batches))
        ahead = submit(left[0]) if left else {}
        for number in left:
            views, ahead = ahead, submit(number + 1) if number + 1 < len(batches) else {}
            yield batches[number], views

    def _train_batch(self, items: torch.Tensor, views: dict[View, Future[tuple[Pixels, ...]]], progressed: Progressed, batches: int) -> None:
        key = self._key(progressed.epoch, progressed.batches)
        torch.manual_seed(int(np.random.default_rng(key).integers(2**62)))  # of dropout, so that it follows from where training stands
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(progressed.epoch - 1 + progressed.batches / batches)
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in items.split(self.parameters.micro_batch):
            rendered = {view: views[view].result() for view in self.step.views(part, key)}
            loss = self.step.loss(part, key, rendered, len(items))
            if self.parameters.precision != "float16" or not math.isfinite(loss.total):
                refuse_divergence(self.where, progressed.epoch, loss.total, None, self.parameters.learning_rate)
            if loss.value.requires_grad:
                self.scaler.scale(loss.value).backward()
            total += loss.total
            progressed.active += loss.active
        progressed.loss += total
        moved = any(value.grad is not None and bool(value.grad.any()) for value in self._named.values())
        refuse_standstill(self.where, progressed.epoch, moved, total / len(items), self.step.guessing, self.parameters.learning_rate)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        progressed.batches += 1

    def _key(self, epoch: int, batch: int) -> tuple[int, ...]:
        return (self.parameters.seed, epoch, batch)

    def _learning_rate(self, epochs: float) -> float:
        rate = self.parameters.learning_rate
        match self.parameters.schedule:
            case "constant":
                return rate
            case "step":
                return rate * self.parameters.decay ** (int(epochs) // self.parameters.decay_epochs)
            case "cosine":
                return rate * (1 + math.cos(math.pi * epochs / self.parameters.epochs)) / 2
            case _:
                assert_never(self.parameters.schedule)

    def _end_epoch(self, progressed: Progressed) -> None:
        """Validate, keep the best, plan the next epoch, and write a checkpoint."""
        loss = progressed.loss / max(len(progressed.items), 1)
        refuse_divergence(self.where, progressed.epoch, loss, self.step.guessing, self.parameters.learning_rate)
        descriptors = self._validated(progressed, progressed.epoch, loss)
        found = progressed.curve[-1]["map"]
        if self.parameters.patience and found is not None and found > progressed.best:
            progressed.best, progressed.best_epoch, progressed.best_weights = found, progressed.epoch, self.network.state()
        progressed.epoch += 1
        progressed.batches, progressed.loss, progressed.active = 0, 0.0, 0.0
        progressed.items = self.step.plan(progressed.epoch, descriptors)
        self._save(progressed)

    def _save(self, progressed: Progressed) -> None:
        progressed.scale = self.scaler.state_dict()
        state = self.optimizer.state
        momenta = {name: state[value]["momentum_buffer"] for name, value in self._named.items() if "momentum_buffer" in state.get(value, {})}
        self.checkpoints.save(progressed, self.network.state(), momenta)

    def _validated(self, progressed: Progressed, epoch: int, loss: float | None) -> torch.Tensor:
        """Descriptors of all photographs as the network stands; adds a row to the curve."""
        descriptors = self.described()
        validated = validate_descriptors(descriptors, self.step.labels, self.step.data.trained)
        first = progressed.curve[0]["spread"] if progressed.curve else None
        least = LEAST_SPREAD * first if first is not None else 0.0
        refuse_collapse(self.where, epoch, descriptors, validated.spread, least, self.parameters.learning_rate)
        active = None if loss is None else progressed.active / max(len(progressed.items), 1)
        row = {"epoch": epoch, "loss": loss, "active": active, "map": validated.mean_ap, "p_at_1": validated.precision_at_1}
        row = {key: None if value is None or not math.isfinite(value) else value for key, value in (row | {"spread": validated.spread}).items()}
        progressed.curve.append(row)
        shown = ", ".join(f"{key} {value:.4f}" for key, value in row.items() if key != "epoch" and value is not None)
        log.info("%s: epoch %d of %d: %s.", self.where, epoch, self.parameters.epochs, shown)
        return descriptors

    def described(self) -> torch.Tensor:
        """(N, D) float32 of all photographs, without augmentation."""
        self.network.test_mode()
        found, at_once = [], self.step.described_at_once
        total = len(self.step.data.labels)
        with torch.inference_mode():
            pending = [self.pool.submit(self.step.test_view, index) for index in range(min(2 * at_once, total))]
            submitted = len(pending)
            while pending:
                pixels = [future.result() for future in pending[:at_once]]
                pending = pending[at_once:]
                while submitted < total and len(pending) < 2 * at_once:
                    pending.append(self.pool.submit(self.step.test_view, submitted))
                    submitted += 1
                found.append(self.step.describe(np.stack(pixels)))
        return torch.cat(found).clone()


def summary(progressed: Progressed) -> dict[str, object]:
    """What the network's card says of its training."""
    return {"epochs": progressed.epoch - 1, "best_epoch": progressed.best_epoch or None, "last": progressed.curve[-1]}
