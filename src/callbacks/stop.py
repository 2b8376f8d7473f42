"""SIGTERM and Ctrl-C: finish the step, save, and end with a status that says so."""

import signal
import threading
from types import FrameType
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from src.callbacks.recorder import EpochRecorder, require_finite_weights
from src.errors import InterruptedRunError, PreemptedError, RunError
from src.ranks import process_rank

_AGREE_EVERY = 8  # steps; agreeing takes a message between the ranks
_MEANINGS: dict[int, type[RunError]] = {signal.SIGTERM: PreemptedError, signal.SIGINT: InterruptedRunError}


class StopRequest:
    """Remembers that someone asked the process to stop.

    While a fit is running, the first signal sets a flag that is looked at between two steps, on every rank at the same
    step; a second Ctrl-C ends the process at once. Outside a fit there is nothing to save: a signal ends the run there
    and then.
    """

    def __init__(self) -> None:
        self.reason: type[RunError] | None = None
        self.saved_at: str | None = None
        self.requeue = False
        self.trainer: Trainer | None = None
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
        for number in _MEANINGS if requeue_signal is None else (*_MEANINGS, requeue_signal):
            self._before.setdefault(number, signal.getsignal(number))
            # A terminal sends Ctrl-C to every rank; rank 0 decides for all of them.
            signal.signal(number, self._handle if process_rank() == 0 else signal.SIG_IGN)

    def uninstall(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def error(self) -> RunError:
        """The exception that ends the run."""
        assert self.reason is not None
        saved = f"saved {self.saved_at}" if self.saved_at else "nothing to save since the last epoch"
        further = "the job is to be queued again" if self.requeue else "go on with resume=<run dir>"
        return self.reason(f"{self.reason.status}: {saved}; {further}")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = self.reason is None
        self.reason = _MEANINGS.get(number, PreemptedError)
        self.requeue = self.requeue or number == self._requeue_signal
        if self.trainer is None:
            raise self.error()
        if not first and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.trainer.world_size == 1:
            stop_after_this_step(self.trainer)  # several ranks have to agree first: see StopTogether


def stop_after_this_step(trainer: Trainer) -> None:
    """Raise Lightning's flag: it ends the fit after the step, or after the epoch if this is its last step."""
    trainer._signal_connector.received_sigterm = True


class StopGracefully(Callback):
    """Saves a checkpoint when a `StopRequest` ends the fit between two steps."""

    def __init__(self, request: StopRequest, recorder: EpochRecorder) -> None:
        self.request = request
        self.recorder = recorder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on there is something to save. Lightning has installed its own handlers by now."""
        self.request.trainer = trainer
        self._install(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning has installed its own handlers for the test too, which know nothing of the run's record."""
        self._install(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is saved."""
        self.request.trainer = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the step at which the run stops; at the end of an epoch that has been done."""
        self.request.trainer = None
        progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning declares a base class of it
        within_epoch = progress.started > progress.processed
        if isinstance(exception, SIGTERMException) and within_epoch and self.recorder.save:
            require_finite_weights(pl_module, trainer)
            self.recorder.save_last(trainer)
            self.request.saved_at = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}"

    def _install(self, trainer: Trainer) -> None:
        cluster = trainer._accelerator_connector.cluster_environment
        # In Lightning's own handler each rank would save where it stands, while the others are in a collective.
        again = None
        if isinstance(cluster, SLURMEnvironment):
            again = cluster.requeue_signal if cluster.auto_requeue else None
        elif SLURMEnvironment.detect():  # one task, whose ranks are ours
            again = signal.SIGUSR1
        self.request.install(again)


class StopTogether(Callback):
    """For runs of several ranks: has them agree on the step at which they stop.

    Lightning's flag alone doesn't do: the first rank would look at it at the end of a step, the others at the beginning
    of the next, and each would wait for the other for ever.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let every rank know whether the first was asked to stop."""
        if batch_idx % _AGREE_EVERY and not trainer.is_last_batch:
            return
        if trainer.strategy.reduce_boolean_decision(self.request.reason is not None, all=False):
            self.request.reason = self.request.reason or PreemptedError
            stop_after_this_step(trainer)
