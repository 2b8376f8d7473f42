"""Jobs on this machine: processes forked from a warm server, as many at once as there are slots."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from strobe.machine.signals import kill_group, send
from strobe.machine.threads import settle_waiting
from strobe.record.layout import STORAGE_VARIABLE
from strobe.sweeps.engine import End, Engine, StartJob
from strobe.sweeps.handed import Handed
from strobe.sweeps.job import Job
from strobe.sweeps.slots import Slot
from strobe.sweeps.warm import WarmServer

_DYING_S = 0.2  # from the last word of a process that is killed to its end
_BORN_S = 5.0  # until a fork leads its own group, even on a busy machine


@dataclass
class _Running:
    slot: Slot
    process: BaseProcess


class LocalEngine(Engine):
    """This machine.

    Args:
        slots: One job each.
        start: What a job's process does; a function of a module, which the warm server imports.
        config_of: What a job makes its config of; None where it has to compose it.
    """

    def __init__(
        self, slots: Sequence[Slot], start: StartJob, config_of: Callable[[Job], Handed | None] = lambda job: None
    ) -> None:
        self._slots = slots
        self._free = list(slots)
        self._start, self._config_of = start, config_of
        self._running: dict[Job, _Running] = {}
        self._server = WarmServer(start.__module__)

    @property
    def described(self) -> str:
        """How much runs at once."""
        return f"{len(self._slots)} at a time, {self._slots[0].threads} thread(s) each"

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    def get_ready(self) -> None:
        """Start the warm server, which imports torch beside the planning."""
        settle_waiting(len(self._slots) - 1)  # each other job keeps a core busy
        self._server.start()

    def start(self, job: Job, arguments: Sequence[str]) -> None:
        """Start a job in a free slot.

        Raises:
            OSError: If there can be no process.
        """
        slot = self._free[0]
        environment = slot.environment() | job.environment
        if STORAGE_VARIABLE in os.environ:  # the server may have begun before the driver learnt of it
            environment[STORAGE_VARIABLE] = os.environ[STORAGE_VARIABLE]
        process = self._server.context.Process(
            target=self._start,
            args=(list(arguments), str(job.directory), environment, str(Path.cwd()), self._config_of(job)),
            name=job.directory.name,
        )
        self.get_ready()
        if not _is_answered(process):  # the server was killed meanwhile: another is asked, once that one is gone
            time.sleep(_DYING_S)
            self.get_ready()
            process.start()
        self._free.remove(slot)
        self._running[job] = _Running(slot, process)

    def wait(self, timeout: float) -> list[tuple[Job, End]]:
        """Wait until a job's process has ended, or ``timeout`` seconds; returns those that have."""
        wait([entry.process.sentinel for entry in self._running.values()], timeout)
        ended = [(job, entry) for job, entry in self._running.items() if not entry.process.is_alive()]
        for job, entry in ended:
            del self._running[job]
            self._free.append(entry.slot)
            entry.process.join()
            kill_group(entry.process.pid)
        return [(job, End(code=entry.process.exitcode)) for job, entry in ended]

    def ask(self, job: Job, number: int) -> None:
        """Send a signal to a job's process, which tells its ranks."""
        if job not in self._running:
            return
        process = self._running[job].process
        if process.pid is not None and process.is_alive():
            _wait_until_it_listens(process.pid)
            send(process.pid, number)

    def kill(self, job: Job) -> None:
        """End a job at once."""
        if job not in self._running:
            return
        process = self._running[job].process
        kill_group(process.pid)
        if process.is_alive():
            process.kill()


def _wait_until_it_listens(pid: int) -> None:
    """Wait for a fork of the server to have become a job: until then a Ctrl-C passes it by, as it does the server."""
    until = time.monotonic() + _BORN_S
    with suppress(ProcessLookupError):
        while os.getpgid(pid) != pid and time.monotonic() < until:
            time.sleep(0.01)


def _is_answered(process: BaseProcess) -> bool:
    """Start a process; tells whether the server that forks it was there to say that it has.

    Nothing is kept of one that it may have forked without saying so: such a process ends by itself.
    """
    try:
        process.start()
    except (EOFError, ConnectionError):
        return False
    return True
