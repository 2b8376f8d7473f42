"""Threads wait as the user has said, else so that a busy neighbour does not stop them."""

import sys

import pytest

from strobe.machine.threads import SPINS, settle_waiting, waiting


@pytest.fixture(autouse=True)
def before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "torch")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # also what the code sets is undone
        monkeypatch.delenv(name)


def test_threads_go_to_sleep_soon() -> None:
    settle_waiting()
    assert waiting() == f"GOMP_SPINCOUNT={SPINS}"


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "infinite"), ("OMP_WAIT_POLICY", "active")])
def test_what_the_user_has_set_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    settle_waiting()
    assert waiting() == f"{name}={value}"


def test_nothing_is_claimed_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    settle_waiting()
    assert waiting() is None
