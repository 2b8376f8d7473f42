"""What a training changes in the process that it runs in, put back as it was: a notebook goes on afterwards."""

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig

from strobe.machine import began
from strobe.machine.signals import hangup_signals

_ONE = threading.Lock()


@contextmanager
def given_back(arguments: Sequence[str]) -> Iterator[None]:
    """Within the block the process is a run's alone: seeds, threads, loggers, warnings, signals, environment.

    Args:
        arguments: What the command line of such a run would be.

    Raises:
        RuntimeError: If another thread of this process is in such a block: there is one of each of these.
    """
    if not _ONE.acquire(blocking=False):
        raise RuntimeError("another run is at work in this process: wait for it, or use a process of its own")
    try:
        with ExitStack() as stack:
            for part in (_environment(), _signals(), _logging(), _warnings(), _hydra(), _torch(), began.just_now()):
                stack.enter_context(part)
            before = sys.argv
            sys.argv = [*before[:1], *arguments]
            stack.callback(setattr, sys, "argv", before)
            yield
    finally:
        _ONE.release()


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in [name for name in os.environ if name not in before]:
            del os.environ[name]
        os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


@contextmanager
def _signals() -> Iterator[None]:
    """Only the main thread can set handlers, so only there are any changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = {signal.SIGINT, signal.SIGTERM, *hangup_signals(), *filter(None, [getattr(signal, "SIGUSR1", None)])}
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


@contextmanager
def _logging() -> Iterator[None]:
    known = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [
        (logger, logger.level, logger.propagate, logger.disabled, logger.handlers[:], logger.filters[:])
        for logger in (logging.getLogger(), *known)
    ]
    try:
        yield
    finally:
        for logger, level, propagate, disabled, handlers, filters in before:
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled
            logger.handlers[:], logger.filters[:] = handlers, filters


@contextmanager
def _warnings() -> Iterator[None]:
    were_logged = getattr(warnings.showwarning, "__module__", "") == "logging"
    with warnings.catch_warnings():
        try:
            yield
        finally:
            logging.captureWarnings(were_logged)


@contextmanager
def _hydra() -> Iterator[None]:
    before = HydraConfig.instance().cfg
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def _torch() -> Iterator[None]:
    import numpy
    import torch

    gpus = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    streams: Any = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    of_gpus = torch.cuda.get_rng_state_all() if gpus else []
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    exact = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    try:
        yield
    finally:
        random.setstate(streams[0])
        numpy.random.set_state(streams[1])
        torch.set_rng_state(streams[2])
        if of_gpus:
            torch.cuda.set_rng_state_all(of_gpus)
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(exact[0], warn_only=exact[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
