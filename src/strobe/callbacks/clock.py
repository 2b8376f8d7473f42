"""A profiler of Lightning's that shares out all of a training's time among a few rows, so that they add up to it."""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    DeviceStatsMonitor,
    LearningRateMonitor,
    ProgressBar,
    ThroughputMonitor,
)
from lightning.pytorch.profilers import Profiler
from torch.profiler import record_function

from strobe.callbacks.steps import StepLog
from strobe.callbacks.tensorboard import TensorBoardPages

BY_STEP = ("data", "forward", "backward", "optimizer", "logging", "callbacks", "framework")
"""Rows of what is done in every step; the others are done now and then."""

_HOOKS = {
    **dict.fromkeys(("train_dataloader_next", "batch_to_device", "transfer_batch_to_device"), "data"),
    **dict.fromkeys(("on_before_batch_transfer", "on_after_batch_transfer"), "data"),
    "training_step": "forward",
    "backward": "backward",
    **dict.fromkeys(("optimizer.step", "optimizer_zero_grad", "configure_gradient_clipping"), "optimizer"),
    "lr_scheduler_step": "optimizer",
}
_LOGGING = (StepLog, TensorBoardPages, ProgressBar, LearningRateMonitor, DeviceStatsMonitor, ThroughputMonitor)


class Clock(Profiler):
    """Counts every moment of the training once, in the row of the innermost action that is under way.

    What no action of a row accounts for is the framework's: Lightning's loops, and the clock itself. On a GPU it waits
    for the device whenever the row changes: its work counts where it was asked for.

    Attributes:
        seconds: By row.
        actions: Lightning's own names -> how often, and how long with all within them.
        instead: A row that everything counts in for now, whatever it is.
        labels: Whether actions are labelled for torch's profiler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.actions: dict[str, tuple[int, float]] = {}
        self.instead: str | None = None
        self.labels = False
        self._trainer: Trainer | None = None  # while it runs
        self._rows: dict[str, str] = {}  # of actions that were seen before
        self._callbacks: dict[str, Callback] = {}
        self._stack: list[tuple[str, str, float, ExitStack | None]] = []
        self._row = "framework"
        self._since = 0.0
        self._undo: list[Callable[[], None]] = []
        self._waits = False

    def begin(self, trainer: Trainer) -> None:
        """Start the clock, and see the optimizers' steps and every backward pass, of a manual optimization too."""
        self._trainer = trainer
        self._callbacks = {each.state_key: each for each in trainer.callbacks}  # type: ignore[attr-defined]
        self._waits = trainer.strategy.root_device.type == "cuda"
        for optimizer in trainer.optimizers:
            before = optimizer.register_step_pre_hook(lambda *_: self.start("optimizer.step"))
            after = optimizer.register_step_post_hook(lambda *_: self.stop("optimizer.step"))
            self._undo += [before.remove, after.remove]
        strategy: Any = trainer.strategy
        passes = strategy.backward

        def backward(*args: Any, **kwargs: Any) -> Any:
            with self.profile("backward"):
                return passes(*args, **kwargs)

        strategy.backward = backward
        self._undo.append(lambda: delattr(strategy, "backward"))
        self._since = time.perf_counter()

    def end(self) -> None:
        """Stop it."""
        if self._trainer is not None:
            self.turn("framework")
            self._trainer = None
            self._stack.clear()
            for undo in self._undo:
                undo()
            self._undo.clear()

    def start(self, action_name: str) -> None:
        """Lightning begins something."""
        if self._trainer is None:
            return
        row = self._row_of(action_name)
        self.turn(row)
        label = None
        if self.labels:
            label = ExitStack()
            label.enter_context(record_function(action_name))
        self._stack.append((action_name, row, self._since, label))

    def stop(self, action_name: str) -> None:
        """It is done; what began before the clock did is not counted."""
        if self._trainer is None or not self._stack or self._stack[-1][0] != action_name:
            return
        _, _, began, label = self._stack.pop()
        if label is not None:
            label.close()
        self.turn(self._stack[-1][1] if self._stack else "framework")
        calls, seconds = self.actions.get(action_name, (0, 0.0))
        self.actions[action_name] = calls + 1, seconds + self._since - began

    def turn(self, row: str) -> None:
        """Count what follows in another row."""
        if self._waits and row != self._row:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self.instead or self._row] += now - self._since
        self._row, self._since = row, now

    def _row_of(self, action: str) -> str:
        """The row of an action; of one that belongs to none, that of what it is done within."""
        if action == "save_checkpoint":
            return "checkpoint"
        assert self._trainer is not None, "the clock runs"
        if self._trainer.validating or self._trainer.sanity_checking:
            return "validation"
        if action not in self._rows:
            self._rows[action] = self._kind(action)
        return self._rows[action] or (self._stack[-1][1] if self._stack else "framework")

    def _kind(self, action: str) -> str:
        owner, _, hook = action.rpartition(".")
        if action.startswith("[Callback]"):
            callback = self._callbacks.get(owner.removeprefix("[Callback]"))
            if isinstance(callback, _LOGGING):
                return "logging"
            return "checkpoint" if isinstance(callback, Checkpoint) and hook == "on_train_epoch_end" else "callbacks"
        if action.startswith("[LightningDataModule]"):
            return "data"
        return _HOOKS.get(action) or _HOOKS.get(hook) or ""
