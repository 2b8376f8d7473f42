"""A project under `examples/`, copied to where it is nobody's checkout and used through the command line."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, report

STOP = """
import os, signal
from lightning.pytorch import Callback

class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)
"""

Finished = subprocess.CompletedProcess[str]


class Project:
    """A copy of one of the examples.

    Args:
        name: Of its folder.
        place: An empty folder for the copy.
    """

    def __init__(self, name: str, place: Path) -> None:
        left = shutil.ignore_patterns("__pycache__", "outputs", ".*")
        self.directory = shutil.copytree(ROOT / "examples" / name, place / name, ignore=left)
        # strobe as it is installed: of the repository's other folders, its own `src` among them, nothing is found.
        self.env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def strobe(self, *arguments: str, timeout: float = 600) -> Finished:
        """``strobe <arguments>`` in the project's directory; ``train`` and its config directory come first."""
        return self.python("-m", "strobe", *arguments, timeout=timeout)

    def train(self, *overrides: str) -> Finished:
        """``strobe train --config-dir conf <overrides>``."""
        return self.strobe("train", "--config-dir", "conf", *overrides)

    def python(self, *arguments: str, timeout: float = 600) -> Finished:
        """``python <arguments>`` in the project's directory."""
        given: Any = {"cwd": self.directory, "env": self.env, "timeout": timeout}
        return subprocess.run([sys.executable, *arguments], **given, capture_output=True, text=True, check=False)

    def stopped(self, name: str, *overrides: str, step: int) -> Path:
        """A run that got SIGTERM at a step, which is within an epoch.

        Args:
            name: Its directory.
            overrides: Of its command.
            step: After it the signal comes.
        """
        (self.directory / "stopping.py").write_text(STOP)
        stop = ("+callbacks.stop._target_=stopping.Stop", f"+callbacks.stop.step={step}")
        done = self.train(*overrides, *stop, f"hydra.run.dir={name}")
        assert done.returncode == 143, done.stderr
        run = self.directory / name
        assert report(run)["status"] == "preempted"
        return run


def rows(run: Path) -> list[dict[str, str]]:
    """What a run has written of its epochs, but for the time they took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in _written(run)]


def printed_metrics(output: str) -> dict[str, float]:
    """What `strobe evaluate` printed."""
    return {name: float(value) for name, value in (line.split() for line in output.splitlines() if "/" in line)}


def _written(run: Path) -> list[dict[str, str]]:
    if not (path := run / "metrics.csv").exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
