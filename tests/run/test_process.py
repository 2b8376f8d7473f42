"""The warnings that are kept from a person: each is still given by a library, for something that is as it should be."""

import gc
import logging
import os
import re
import signal
import warnings
from pathlib import Path

import pytest
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning_utilities.core.rank_zero import WarningCache
from torch import nn

from strobe.errors import PreemptedError
from strobe.run import process
from tests.conftest import Train
from tests.run.test_faults import stopping
from tests.tasks.modules import Given

PROVOKED = {
    "many workers": ["data.loader=torch"],
    "logging interval": ["trainer.log_every_n_steps=500"],
    "not resumable": stopping(signal.SIGTERM),
    "callbacks used": [
        *stopping(signal.SIGTERM),
        "+callbacks.early._target_=lightning.pytorch.callbacks.EarlyStopping",
        "+callbacks.early.monitor=val/loss",
    ],
    "treespec": [],
    "length of `MemoryLoader`": ["trainer.fast_dev_run=true", "data.val_size=0"],
    "sync_dist": ["trainer=ddp_cpu", "trainer.devices=1"],
    "srun": [],
    "GPU available": [],
    "already saved": [
        *("task._target_=tests.run.test_process.KeepsItsNet", "+task.secret_of_the_data=1", "monitor.metric=null"),
    ],
    "AMP with fp16": ["trainer.precision=16-mixed"],
}


class KeepsItsNet(Given):
    """As many write it who come from the usual template."""

    def __init__(self, net: nn.Module, loss: nn.Module, monitor: str | None, secret_of_the_data: int) -> None:
        super().__init__(net, loss, str(monitor), secret_of_the_data)
        self.save_hyperparameters(logger=False)


def expected(word: str) -> str:
    """The pattern that is about something."""
    (pattern,) = (pattern for pattern in process.EXPECTED_WARNINGS if word in pattern)
    return pattern


def test_every_expected_warning_is_tested() -> None:
    assert {expected(word) for word in PROVOKED} == set(process.EXPECTED_WARNINGS)


@pytest.mark.parametrize("word", PROVOKED)
def test_an_expected_warning_is_still_given_and_kept_from_the_person(
    train_tiny: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    monkeypatch.setattr(logging, "captureWarnings", lambda capture: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)  # enough for workers
    _on_the_path("srun", tmp_path / "bin", monkeypatch)
    if word == "GPU available":
        monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: True)
    pattern = expected(word)
    for suppressed in (False, True):
        monkeypatch.setattr(process, "EXPECTED_WARNINGS", (pattern,) if suppressed else ())
        for remembered in gc.get_objects():  # of this process's earlier tests: Lightning gives some of them once
            if issubclass(type(remembered), WarningCache):
                remembered.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train_or_resume(train_tiny, tmp_path / f"suppressed_{suppressed}", PROVOKED[word])
        given = [str(warning.message) for warning in caught]
        assert any(re.match(pattern, message, re.DOTALL) for message in given) is not suppressed


def _on_the_path(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    (folder / name).write_text("#!/bin/sh\nexit 1\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def train_or_resume(train_tiny: Train, directory: Path, overrides: list[str]) -> None:
    """Train, and continue where that is stopped."""
    try:
        train_tiny(*overrides, directory=directory)
    except PreemptedError:
        train_tiny(f"resume={directory}", directory=directory)
