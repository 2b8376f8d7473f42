"""A progress bar on a terminal, plain lines everywhere else."""

import logging
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor

from strobe.machine import transient
from strobe.tasks.task import Task

log = logging.getLogger(__name__)

_QUIET_S = 0.5  # of a validation, before it is shown
_WINDOW = 50  # drawings that the rate is measured over: five seconds
_NARROWEST = 5  # columns of a bar that is worth its place
_OWN_METRICS = 3  # that a module has logged with prog_bar=True


class Progress(ProgressBar):
    """Shows loss, rate and time left on a terminal; without one (a pipe, a log file, a sweep) only what is printed.

    The loss is read when the line is drawn, ten times a second: to read it in every step would have the device wait in
    every step. Of a `Task` it is the mean over the examples since the line was drawn before, of another module the
    latest batch's.

    Args:
        refresh_s: Seconds between two updates of the bar.
    """

    def __init__(self, *, refresh_s: float = 0.1) -> None:
        super().__init__()
        self.refresh_s = refresh_s
        self._enabled = True
        self._due = 0.0
        self._fit_began = 0.0
        self._done = 0  # batches of this fit
        self._drawn: deque[tuple[float, int]] = deque(maxlen=_WINDOW)  # when, and how many batches were done then
        self._counted = (0.0, 0)  # the sum of the losses when the line was drawn, and of how many examples it was
        self._waits = ExitStack()  # for the first batch

    def disable(self) -> None:
        """Lightning calls this on ranks other than 0."""
        self._enabled = False

    def enable(self) -> None:
        """Undo `disable`."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Log a line, above the bar where there is one."""
        if self._enabled:
            transient.erase()
            log.info(" ".join(str(argument) for argument in args))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure; where there is nobody to see a bar, steps are not looked at."""
        self._fit_began, self._done = time.perf_counter(), 0
        if not self._is_seen:
            for hook in ("on_train_batch_end", "on_validation_batch_end"):
                setattr(self, hook, None)  # Lightning passes over what can't be called
        else:
            self._waits.enter_context(transient.doing(f"{_epoch(trainer)}: the first step"))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a bar."""
        self._drawn.clear()
        self._counted = (0.0, 0)
        self._due = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        self._done += 1
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + self.refresh_s
            if self._done == 1:
                self._waits.close()
            self._drawn.append((now, self._done))
            transient.show(self._line(trainer, pl_module, outputs, batch_idx + 1))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A short validation goes unseen."""
        if self._is_seen:
            self._due = time.perf_counter() + _QUIET_S
            self._waits.enter_context(transient.doing(f"{_epoch(trainer)}: validating"))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Tell how far validation is."""
        now = time.perf_counter()
        if now >= self._due and self._is_seen:
            self._due = now + self.refresh_s
            totals = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
            total = totals[dataloader_idx]
            head = "first look at the validation" if trainer.sanity_checking else f"{_epoch(trainer)}  validating"
            transient.show(_drawn(head, batch_idx + 1, total, f"{batch_idx + 1}{_of(total)}"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the time that it took out of the rate."""
        self._waits.close()
        self._drawn.clear()
        self._due = 0.0

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
        self._waits.close()
        if self._is_seen:
            transient.erase()

    @property
    def _is_seen(self) -> bool:
        return self._enabled and transient.on_terminal()

    def _line(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, number: int) -> str:
        """The bar, after so many batches of this epoch."""
        total = self.total_train_batches
        parts = [f"{number:>{len(_of(total)) - 1}}{_of(total)}"] if _of(total) else [str(number)]
        if (loss := self._loss(trainer, pl_module, outputs)) is not None:
            parts.append(f"loss {loss:.4f}" if abs(loss) < 1e5 else f"loss {loss:.3g}")
        own = {name: value for name, value in trainer.progress_bar_metrics.items() if name != "v_num"}
        parts += [f"{name} {value:.4g}" for name, value in list(own.items())[:_OWN_METRICS]]
        (first_at, first), (last_at, last) = self._drawn[0], self._drawn[-1]
        if last > first:
            rate = (last - first) / (last_at - first_at)
            parts.append(
                f"{rate:.0f} it/s" if rate >= 10 else f"{rate:.2g} it/s" if rate >= 1 else f"{1 / rate:.1f} s/it"
            )
            parts += self._left(trainer, number, total, rate)
        return _drawn(_epoch(trainer), number, total, "  ".join(parts))

    def _left(self, trainer: Trainer, number: int, total: float, rate: float) -> list[str]:
        """Time left of the epoch, and of the training where that has more epochs and an end."""
        in_epoch = total - number
        whole = float("inf")  # in batches
        if (trainer.max_epochs or -1) > 0:
            whole = in_epoch + ((trainer.max_epochs or 0) - trainer.current_epoch - 1) * total
        if trainer.max_steps > 0:
            whole = min(whole, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
        left = [f"{transient.clock(in_epoch / rate)} left"] if in_epoch < whole and in_epoch != float("inf") else []
        if whole == float("inf"):
            return left
        per_batch = (time.perf_counter() - self._fit_began) / self._done  # validation and checkpoints included
        return [*left, f"{transient.clock(whole * per_batch)} {'in all' if left else 'left'}"]

    def _loss(self, trainer: Trainer, pl_module: LightningModule, outputs: Any) -> float | None:
        if isinstance(pl_module, Task):
            means = pl_module.means["train"]
            if "loss" not in means.sums:
                return None
            total, count = float(means.sums["loss"]), means.counts["loss"]
            before, counted = self._counted if self._counted[1] < count else (0.0, 0)
            self._counted = total, count
            return (total - before) / (count - counted)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        return float(loss) * trainer.accumulate_grad_batches if isinstance(loss, Tensor) and loss.numel() == 1 else None


def _drawn(head: str, number: int, total: float, rest: str) -> str:
    """A line with a bar that takes what room there is."""
    share = min(number / total, 1.0) if 0 < total < float("inf") else None
    if share is None:
        return f"{head}  {rest}"
    head = f"{head} {share:4.0%}"
    room = min(transient.columns() - 1 - len(head) - len(rest) - len(" || "), 40)
    if room < _NARROWEST:
        return f"{head}  {rest}"
    full, empty = ("█", " ") if (sys.stderr.encoding or "").lower().startswith("utf") else ("#", " ")
    return f"{head} |{(full * round(share * room)).ljust(room, empty)}| {rest}"


def _epoch(trainer: Trainer) -> str:
    total = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    return f"epoch {trainer.current_epoch + 1}{total}"


def _of(total: float) -> str:
    return "" if total == float("inf") else f"/{int(total)}"
