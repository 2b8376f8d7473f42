"""Callbacks, given to a run by `callbacks.<name>._target_`, that take down when something happened."""

import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import Callback


class FirstStep(Callback):
    """Writes the time at which the first step begins.

    Args:
        path: Where to; the time is `time.monotonic`'s, which all processes share.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(self, trainer: lightning.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        """See `lightning.pytorch.Callback`."""
        if trainer.global_step == 0:
            self.path.write_text(repr(time.monotonic()))


class Epochs(Callback):
    """Writes the times at which epochs begin, once all are over.

    Args:
        path: Where to, a line each.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """See `lightning.pytorch.Callback`."""
        self.times.append(time.monotonic())

    def on_fit_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """See `lightning.pytorch.Callback`."""
        self.path.write_text("\n".join(map(repr, [*self.times, time.monotonic()])))
