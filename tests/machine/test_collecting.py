"""What is imported is collected neither while it comes nor later, and everything else is as ever."""

import atexit
import gc
import sys
from collections.abc import Iterator

import pytest

from strobe.machine.collecting import held_off


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "lightning.pytorch", raising=False)
    yield
    atexit.unregister(gc.unfreeze)
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_while_libraries_are_imported_and_everything_as_ever_after_it() -> None:
    before = gc.get_threshold()
    with held_off():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() > 0


def test_collection_that_someone_has_switched_off_stays_off() -> None:
    gc.disable()
    with held_off():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_what_an_earlier_run_of_this_process_has_left_can_still_be_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", gc)
    with held_off():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
