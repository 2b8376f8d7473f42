"""What a training shows in a notebook: a bar for the epoch, and curves that grow with each; imported there alone."""

import time
import warnings
from collections.abc import Mapping
from typing import Any

from IPython.display import Image, display
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from strobe.callbacks.curves import curves, png
from strobe.callbacks.recorder import EpochRecorder
from strobe.machine.rank import process_rank
from strobe.record.epochs import read_numbers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # without ipywidgets the bar is one of text, as good
    from tqdm.auto import tqdm

_EVERY_S = 0.2  # the loss is read when the bar is drawn: to read it in every step would have the device wait


class InNotebook(Callback):
    """Shows how the training goes, of the first rank."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._due = 0.0
        self._steps = 0
        self._shown: Any = None
        self._epochs = 0
        if process_rank() > 0:
            for hook in ("on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end", "on_train_end"):
                setattr(self, hook, None)  # Lightning passes over what can't be called

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what the epochs before have given, and begin a bar."""
        self._draw(trainer)
        limits = trainer.num_training_batches
        total = int(limits) if limits != float("inf") else None
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._bar = tqdm(total=total, desc=f"epoch {trainer.current_epoch + 1}{of}", leave=False)
        self._steps = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        self._steps += 1
        now = time.perf_counter()
        if self._bar is not None and now >= self._due:
            self._due = now + _EVERY_S
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if isinstance(loss, Tensor) and loss.numel() == 1:
                self._bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
            self._bar.update(self._steps)
            self._steps = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar."""
        self._close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the last epoch too: its row is written by now."""
        self._close()
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the bar."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, trainer: Trainer) -> None:
        recorder = next(
            each
            for each in trainer.callbacks  # type: ignore[attr-defined]  # Lightning doesn't declare it
            if isinstance(each, EpochRecorder)
        )
        rows = read_numbers(recorder.record.directory)
        if len(rows) == self._epochs:
            return
        self._epochs = len(rows)
        picture = Image(data=png(curves(rows, recorder.monitor)))  # type: ignore[no-untyped-call]
        if self._shown is None:
            self._shown = display(picture, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._shown.update(picture)
