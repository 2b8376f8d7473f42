"""Signals that a process looks at when it can."""

import os
import signal

import pytest

from strobe.machine.signals import SignaledError, Signals


def test_signals_are_counted_and_leave_what_is_under_way() -> None:
    with Signals() as signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert (signals.first, signals.count) == (signal.SIGTERM, 2)


def test_a_signal_ends_a_block_that_may_take_long() -> None:
    with Signals() as signals:
        with pytest.raises(SignaledError), signals.raised():
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(SignaledError), signals.raised():  # one that came before it
            raise AssertionError("the block is not begun")
        assert signals.count == 2
