"""A progress bar on a terminal, plain lines everywhere else."""

import logging
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress(ProgressBar):
    """Shows steps on a terminal; without one (a pipe, a log file, a sweep) only what is passed to `print`.

    Args:
        refresh_s: Seconds between two updates of the bar.
    """

    def __init__(self, *, refresh_s: float = 0.1) -> None:
        super().__init__()
        self.refresh_s = refresh_s
        self._bar: tqdm[Any] | None = None
        self._enabled = True

    def disable(self) -> None:
        """Lightning calls this on ranks other than 0."""
        self._enabled = False

    def enable(self) -> None:
        """Undo `disable`."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Log a line, above the bar where there is one."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.clear()
        log.info(" ".join(str(argument) for argument in args))
        if self._bar is not None:
            self._bar.refresh()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a bar."""
        if self._enabled and sys.stderr.isatty():
            total = self.total_train_batches
            self._close()
            self._bar = tqdm(
                total=int(total) if total != float("inf") else None,
                desc=f"epoch {trainer.current_epoch + 1}",
                mininterval=self.refresh_s,
                unit="step",
                leave=False,
                dynamic_ncols=True,
                ascii=None if (sys.stderr.encoding or "").lower().startswith("utf") else True,
            )

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the bar; the epoch's line takes its place."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave a clean line."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave a clean line."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
