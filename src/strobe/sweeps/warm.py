"""The warm server: a process that has imported all that a job needs, and of which each job is a fork."""

import atexit
import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from importlib import import_module
from multiprocessing import forkserver
from typing import Any

from strobe.machine.collecting import held_off
from strobe.machine.compiler import put_off_the_compiler
from strobe.machine.devices import available_cpus
from strobe.machine.signals import hangup_signals, ignored
from strobe.machine.threads import Neighbours, settle_waiting

_VARIABLE = "STROBE_WARM_SERVER"  # makes a process that imports this module one: its driver, what it imports besides
_LOOK_S = 0.1  # between two looks whether the driver is still there
_WORKER = "strobe.sweeps.worker"
_BUSY = 2  # cores that the driver and the server use meanwhile


class WarmServer:
    """Forks processes from a server, which it starts once it is asked to.

    Args:
        module: What the server imports besides; the functions that its processes run are in there.
    """

    def __init__(self, module: str) -> None:
        can_fork = "forkserver" in multiprocessing.get_all_start_methods()
        self._module = module
        self.context: Any = multiprocessing.get_context("forkserver" if can_fork else "spawn")
        if can_fork:
            self.context.set_forkserver_preload([__name__])

    def start(self) -> None:
        """See to it that the server is there, or will be: to import torch takes it seconds, and nobody waits for it."""
        if self.context.get_start_method() != "forkserver":
            return
        os.environ[_VARIABLE] = f"{os.getpid()} {self._module}"
        try:
            # Of the driver's terminal: the server has to outlive the jobs, and the driver passes a Ctrl-C on.
            with ignored(signal.SIGINT, *hangup_signals()):
                forkserver.ensure_running()
        finally:
            del os.environ[_VARIABLE]


def _warm_up(driver: int, module: str) -> None:
    """Import what jobs need; until then, end as soon as the driver has, which may have found nothing to run."""
    warm = threading.Event()

    def watch() -> None:
        while not warm.wait(_LOOK_S):
            if os.getppid() != driver:
                os._exit(0)

    watcher = threading.Thread(target=watch, name="end-with-driver")
    watcher.start()
    neighbours = Neighbours(besides=driver)
    put_off_the_compiler()  # a job that compiles imports it
    with held_off():
        _import(module)  # without torch: meanwhile neighbours are looked at
        crowded = available_cpus() <= _BUSY  # then a neighbour has half of what it would take
        settle_waiting(neighbours.cores() * (2 if crowded else 1))
        _import(_WORKER)
    warm.set()
    watcher.join()  # what is forked must have no other thread
    atexit.register(_leave, os.getpid())
    signal.signal(signal.SIGINT, signal.default_int_handler)  # of jobs; multiprocessing has the server ignore it


def _import(name: str) -> None:
    with suppress(ImportError):  # which each job says anew, in its log
        import_module(name)


def _leave(server: int) -> None:
    """End at once: who reads what the driver has printed waits for this process too, and it has nothing to save."""
    if os.getpid() == server:
        os._exit(0)


if (_told := os.environ.pop(_VARIABLE, None)) is not None:
    _driver, _module = _told.split()
    _warm_up(int(_driver), _module)
