"""SIGTERM, SIGHUP and Ctrl-C: finish the step, save, and end with a status that says so."""

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from strobe.callbacks.finite import require_finite_weights
from strobe.callbacks.recorder import EpochRecorder
from strobe.callbacks.within_epoch import AGREE_EVERY
from strobe.errors import InterruptedRunError, PreemptedError, RunError
from strobe.machine.rank import process_rank
from strobe.machine.signals import hangup_signals
from strobe.record import lightning_state

_MEANINGS: dict[int, type[RunError]] = {signal.SIGTERM: PreemptedError, signal.SIGINT: InterruptedRunError}


class StopRequest:
    """Remembers that someone asked the process to stop.

    While a fit is running, the first signal is looked at between two steps, on every rank at the same step; a second
    Ctrl-C ends the process at once. Outside a fit there is nothing to save: a signal ends the run there and then.
    While the record is written that a run has begun, or how it has ended, a signal is only taken down.

    Args:
        directory: Of the run, as a person is told it.

    Attributes:
        holding: Whether it is only taken down.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.reason: type[RunError] | None = None
        self.saved_at: str | None = None
        self.not_saved = "nothing to save since the last epoch"
        self.requeue = False
        self.fitting = False
        self.holding = False
        self._before: dict[int, Any] = {}
        self._requeue_signal: int | None = None

    def install(self, requeue_signal: int | None = None) -> None:
        """Take over the signals; only the main thread can, elsewhere they stay as they are.

        Args:
            requeue_signal: Sent by SLURM before a job's time is up: stop, and ask to be queued again.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        self._requeue_signal = requeue_signal
        for number in (*_MEANINGS, *hangup_signals(), *(() if requeue_signal is None else (requeue_signal,))):
            self._before.setdefault(number, signal.getsignal(number))
            # A terminal sends Ctrl-C to every rank; rank 0 decides for all of them.
            signal.signal(number, self._handle if process_rank() == 0 else signal.SIG_IGN)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take over the signals, which are only taken down until `holding` is unset, and give them back at the end."""
        self.holding = True
        self.install()
        try:
            yield
        finally:
            self.uninstall()

    def uninstall(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def error(self) -> RunError:
        """The exception that ends the run."""
        assert self.reason is not None
        saved = f"saved {self.saved_at}" if self.saved_at else self.not_saved
        again = shlex.quote(f"resume={self.directory}")
        further = "the job is to be queued again" if self.requeue else f"continue with {again}"
        return self.reason(f"{self.reason.status}: {saved}; {further}")

    def raise_if_asked(self) -> None:
        """End the run here if someone asked for it.

        Raises:
            PreemptedError, InterruptedRunError: If so.
        """
        if self.reason is not None:
            raise self.error()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = self.reason is None
        if first or not self.holding:  # else what is being written says why already
            self.reason = _MEANINGS.get(number, PreemptedError)
            self.requeue = self.requeue or number == self._requeue_signal
        if self.holding:
            return
        if not self.fitting:
            raise self.error()
        if not first and number == signal.SIGINT:
            raise KeyboardInterrupt


class StopGracefully(Callback):
    """Ends the fit between two steps when a `StopRequest` asks for it, and saves a checkpoint then.

    It looks when a batch is about to be trained on: what the step before had to do, a whole validation too, is done by
    then, so a resumed run finds nothing half done.
    Several ranks agree first: each would wait in a collective for those that stop at another step.

    Args:
        request: Says whether.
        recorder: Saves.
        cluster: The user's own plugin, if there is one.
    """

    def __init__(self, request: StopRequest, recorder: EpochRecorder, cluster: ClusterEnvironment | None) -> None:
        self.request = request
        self.recorder = recorder
        self.cluster = cluster

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to save. Lightning has installed its own handlers by now."""
        self.request.fitting = True
        self._install(trainer)
        # The state of a loader that has one tells of the batch that it has given last: it must not be one ahead.
        idle = "on_train_batch_start" if lightning_state.keeps_state(trainer) else "on_train_batch_end"
        setattr(self, idle, None)  # Lightning passes over what can't be called; a hook in every step is paid for

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop before this batch, unless gradients have been gathered that no step has used yet."""
        share = trainer.accumulate_grad_batches
        if batch_idx % (share if trainer.world_size == 1 else share * AGREE_EVERY) == 0:
            self._stop_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop before the next batch is fetched, where nothing else is due before that."""
        every = AGREE_EVERY * trainer.accumulate_grad_batches
        agrees = trainer.world_size == 1 or (batch_idx + 1) % every == 0
        if agrees and lightning_state.is_between_steps(trainer, batch_idx):
            self._stop_if_asked(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before this epoch."""
        self._stop_if_asked(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has installed its own handlers for the test too, which know nothing of the run's record."""
        self._install(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is saved; what the first rank was asked since they last agreed, the others learn here."""
        self.request.fitting = False
        if trainer.world_size > 1:
            self._agree(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the step at which the run stops; at the end of an epoch that has been done."""
        self.request.fitting = False
        asked = self.request.reason is not None and isinstance(exception, self.request.reason)
        is_lost = self.recorder.record.lost is not None
        if not asked or is_lost or not lightning_state.within_epoch(trainer) or not self.recorder.save:
            return
        if (why := self.recorder.within_epoch.why_not(pl_module)) is not None:
            self.request.not_saved = f"{why}, so a resumed run begins epoch {trainer.current_epoch + 1} anew"
        else:
            require_finite_weights(pl_module, trainer)
            self.recorder.save_last(trainer)
            self.request.saved_at = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}"

    def _stop_if_asked(self, trainer: Trainer) -> None:
        # What the first rank is asked while they agree counts the next time: the others would go on without it.
        if trainer.world_size == 1 or self._agree(trainer):
            self.request.raise_if_asked()

    def _agree(self, trainer: Trainer) -> bool:
        """Whether any rank was asked to stop; then all of them are."""
        is_asked = bool(trainer.strategy.reduce_boolean_decision(self.request.reason is not None, all=False))
        if is_asked:
            self.request.reason = self.request.reason or PreemptedError
        return is_asked

    def _install(self, trainer: Trainer) -> None:
        cluster = self.cluster or getattr(trainer.strategy, "cluster_environment", None)  # one device has none
        # In Lightning's own handler each rank would save where it stands, while the others are in a collective.
        again = None
        if isinstance(cluster, SLURMEnvironment):
            again = cluster.requeue_signal if cluster.auto_requeue else None
        elif SLURMEnvironment.detect():  # one task, whose ranks are ours
            again = signal.SIGUSR1
        self.request.install(again)
