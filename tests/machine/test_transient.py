"""What stands in a terminal's last line for the moment."""

import io
import re
import time
from types import SimpleNamespace

import pytest

from strobe.machine import transient
from strobe.machine.process import process_age_s
from strobe.machine.program import typed


class Terminal(io.StringIO):
    """Standard error of a person, whose last line is what they see."""

    def isatty(self) -> bool:
        return True

    @property
    def line(self) -> str:
        return self.getvalue().rpartition("\r")[2].rstrip()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(transient, "_AFTER_S", 0.01)
    monkeypatch.setattr(transient, "_EVERY_S", 0.01)
    fake = Terminal()
    monkeypatch.setattr(transient, "sys", SimpleNamespace(stderr=fake))  # pytest takes the real one between phases
    return fake


def wait_for(terminal: Terminal, text: str) -> None:
    deadline = time.monotonic() + 120
    while text not in terminal.getvalue():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_takes_long_is_said_and_taken_away_again(terminal: Terminal) -> None:
    with transient.doing("importing torch"):
        wait_for(terminal, "importing torch ... ")
    assert re.search(r"importing torch \.\.\. \d+ s", terminal.getvalue())
    assert terminal.line == ""
    assert "\n" not in terminal.getvalue()


def test_nobody_speaks_once_another_does(terminal: Terminal) -> None:
    with transient.doing("preparing"):
        transient.show("epoch 1")
        time.sleep(0.05)
        assert terminal.line == "epoch 1"


def test_a_line_is_never_longer_than_the_terminal_is_wide(terminal: Terminal) -> None:
    transient.show("x" * 100)
    transient.show("short")
    assert terminal.line == "short"
    assert all(len(part) < 40 for part in terminal.getvalue().split("\r"))
    transient.erase()


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("RANK", "1")])
def test_nothing_is_shown_that_nobody_sees_or_twice(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with transient.doing("importing torch"):
        time.sleep(0.03)
    assert terminal.getvalue() == ""


def test_the_time_before_an_exec_is_not_this_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    own = process_age_s()

    class OfAShell:
        def create_time(self) -> float:
            return time.time() - own - 1000

    monkeypatch.setattr("strobe.machine.process.psutil.Process", OfAShell)
    assert 0 < process_age_s() < own + 500


def test_commands_are_typed_elsewhere_as_they_were_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STROBE_TYPED", raising=False)
    assert typed("evaluate") == ["strobe", "evaluate"]
    monkeypatch.setenv("STROBE_TYPED", "python -m src")
    assert typed("evaluate") == ["python", "-m", "src.evaluate"]
