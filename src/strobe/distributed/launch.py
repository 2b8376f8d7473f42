"""Start the other ranks of a run that trains in several processes of this machine, and watch over them."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import distributed_c10d

from strobe.distributed.ranks import environment, local_process_count, start_method, variables_of_ranks
from strobe.errors import (
    ConfigError,
    InterruptedRunError,
    PreemptedError,
    RankFailedError,
    RunError,
    first_line,
)
from strobe.machine.leaving import end_process
from strobe.machine.logs import Formatter
from strobe.machine.signals import hangup_signals, ignored
from strobe.machine.streams import settle_streams

log = logging.getLogger(__name__)

_POLL_S = 0.5
_GRACE_S = 2.5  # for this process to find out itself what went wrong, which it knows better
_STOPPED = (0, PreemptedError.exit_code, InterruptedRunError.exit_code)


class Ranks:
    """The processes of the ranks that this one has started; none where there is one rank, or torchrun started all.

    They are started before anything is built, so they import and build while this one does. Lightning's own launchers
    start them within `fit`, ``ddp_spawn`` and its like the first rank too, which would leave the run's record and its
    signals in the wrong process.
    """

    def __init__(self, processes: Sequence[BaseProcess] = (), errors: "SimpleQueue[RunError] | None" = None) -> None:
        self.processes = processes
        self._errors = errors
        self._ending = False
        self._failed: RunError | None = None
        self._lock = threading.Lock()

    def watch(self, on_failure: Callable[[RunError], None]) -> None:
        """End this process soon after another rank has failed: it would wait for that rank for ever.

        Args:
            on_failure: Called with what happened, unless this process ends by itself in the meantime.
        """

        def look() -> None:
            while not self._ending:
                time.sleep(_POLL_S)
                if (error := self._failure()) is not None:
                    time.sleep(_GRACE_S)
                    if self._ending:
                        return
                    on_failure(error)
                    self.kill()
                    os._exit(1)

        if self.processes:
            threading.Thread(target=look, name="watch-ranks", daemon=True).start()

    def cause(self, error: BaseException) -> BaseException:
        """What another rank died of, where ``error`` only says that the connection to it is gone."""
        if isinstance(error, RunError) or not _lost_contact(error):
            return error
        self._ending = True
        patience = time.monotonic() + (_GRACE_S if self.processes else 0)
        while time.monotonic() < patience:
            if (failure := self._failure()) is not None:
                return failure
            time.sleep(_POLL_S / 10)
        return RankFailedError(f"another rank is gone, its train_rank_<n>.log should tell why ({first_line(error)})")

    def _failure(self) -> RunError | None:
        """Of the first rank that has failed; what it said is worth more than its exit code."""
        with self._lock:
            codes = {rank: process.exitcode for rank, process in enumerate(self.processes, start=1)}
            failed = {rank: code for rank, code in codes.items() if code not in (None, *_STOPPED)}
            killed = {rank: code for rank, code in failed.items() if code is not None and code < 0}
            if self._failed is None and not killed and self._errors is not None and not self._errors.empty():
                self._failed = self._errors.get()
            if self._failed is None and failed:
                rank, code = next(iter((killed or failed).items()))
                self._failed = RankFailedError(f"rank {rank} ended with code {code}")
            return self._failed

    def end(self, error: BaseException | None) -> None:
        """Wait for ranks that are about to end as well, do not wait for others."""
        self._ending = True
        if error is None or isinstance(error, PreemptedError | InterruptedRunError):
            patience = time.monotonic() + 4 * _GRACE_S
            for process in self.processes:
                if process.pid is not None:
                    process.join(max(0.0, patience - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End them at once."""
        for process in self.processes:
            if process.pid is not None:
                process.kill()
                process.join()


@contextmanager
def started_ranks(
    *, strategy: str, accelerator: str, devices: Any, directory: Path, child: Callable[[], object]
) -> Iterator[Ranks]:
    """Within the block, this process is rank 0 of as many as ``devices`` says; the others do the same.

    Args:
        strategy: As in ``trainer.strategy``.
        accelerator: As in ``trainer.accelerator``.
        devices: As in ``trainer.devices``.
        directory: The run directory.
        child: What another rank does, in a process of its own that may be a fresh one.

    Raises:
        ConfigError: If the devices make no sense, or no process can be forked.
    """
    count = local_process_count(strategy, accelerator, devices)
    method = start_method(strategy)
    if count > 1 and method == "fork" and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise ConfigError(
            f"trainer.strategy={strategy}: this process has used its GPU, so no other can be forked "
            "from it: restart it (in a notebook, the kernel), or choose trainer.devices=1"
        )
    mine, *others = variables_of_ranks(count, strategy)
    # If this process has ever used two threads, a fork of it that does so waits for ever for the second.
    threads = {"OMP_NUM_THREADS": "1"} if method == "fork" else {}
    ranks = _prepared(method, [int(variables["RANK"]) for variables in others], directory, child)
    before = torch.get_num_threads()
    try:
        for process, variables in zip(ranks.processes, others, strict=True):
            # A terminal sends Ctrl-C to every rank, and rank 0 decides for all.
            with environment(variables | threads), ignored(signal.SIGINT, *hangup_signals()):
                process.start()
        with environment(mine):
            torch.set_num_threads(int(mine.get("OMP_NUM_THREADS", before)))
            yield ranks
            _leave_group()  # before the others are waited for: NCCL leaves it together
    except BaseException as error:
        _abort_group()
        ranks.end(error)
        raise
    else:
        ranks.end(None)
    finally:
        torch.set_num_threads(before)


def _prepared(method: str, numbers: Sequence[int], directory: Path, child: Callable[[], object]) -> Ranks:
    """A process for each rank but this one, not yet started."""
    if not numbers:
        return Ranks()  # and no queue: it would start a process of multiprocessing's own
    context = multiprocessing.get_context(method)
    target = rank_main if method == "fork" else fresh_rank_main
    errors: SimpleQueue[RunError] = context.SimpleQueue()
    processes = [
        context.Process(target=target, args=(rank, directory, child, errors), name=f"rank {rank}")  # type: ignore[attr-defined]
        for rank in numbers
    ]
    return Ranks(processes, errors)


def rank_main(rank: int, directory: Path, child: Callable[[], object], errors: "SimpleQueue[RunError]") -> None:
    """Be another rank than the first; the process ends with the run's exit code, its error goes to rank 0.

    Raises:
        SystemExit: Always.
    """
    settle_streams()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # to a fork, the variable comes too late
    _log_to(directory / f"train_rank_{rank}.log")
    try:
        child()
    except RunError as error:
        if error.exit_code not in _STOPPED and not isinstance(error, RankFailedError):  # which tells of another
            errors.put(type(error)(f"rank {rank}: {error}"))
        raise SystemExit(error.exit_code) from None
    except BaseException as error:
        errors.put(RankFailedError(f"rank {rank}: {type(error).__name__}: {error}"))  # first: rank 0 waits for it
        log.exception("rank %d failed", rank)
        raise SystemExit(1) from None
    raise SystemExit(0)


def fresh_rank_main(rank: int, directory: Path, child: Callable[[], object], errors: "SimpleQueue[RunError]") -> None:
    """`rank_main` in a process of its own from the start: rank 0 waits for its end, which need not take long."""
    try:
        rank_main(rank, directory, child, errors)
    except SystemExit as ended:
        end_process(int(ended.code or 0))


def _leave_group() -> None:
    """Make this process free for another run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _abort_group() -> None:
    """The same after a failure, without waiting for ranks that may be gone."""
    if not distributed.is_initialized():
        return
    # Private: torch's public way out of a NCCL group waits for the others, for ever where one is gone.
    abort = getattr(distributed_c10d, "_abort_process_group", None)
    if distributed.get_backend() == "nccl" and abort is not None:
        abort()
    else:
        distributed.destroy_process_group()


def _lost_contact(error: BaseException) -> bool:
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return False
    text = str(error).lower()
    return any(word in text for word in ("gloo", "nccl", "connection", "process group"))


def _log_to(path: Path) -> None:
    """To the file, and to the terminal what `settle_process` lets through."""
    path.parent.mkdir(parents=True, exist_ok=True)  # rank 0 may not have come to it yet
    file = logging.FileHandler(path, encoding="utf-8")
    file.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setFormatter(Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal], force=True)
    logging.getLogger("strobe").setLevel(logging.DEBUG)
