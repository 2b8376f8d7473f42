"""A project under `examples/`, copied to where it is nobody's checkout and used through the command line."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, report

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

    def strobe(self, *arguments: str, timeout: float = 300) -> Finished:
        """``strobe <arguments>`` in the project's directory; ``train`` and its config directory come first."""
        return self.python("-m", "strobe", *arguments, timeout=timeout)

    def train(self, *overrides: str) -> Finished:
        """``strobe train --config-dir conf <overrides>``."""
        return self.strobe("train", "--config-dir", "conf", *overrides)

    def python(self, *arguments: str, timeout: float = 300) -> Finished:
        """``python <arguments>`` in the project's directory."""
        given: Any = {"cwd": self.directory, "env": self.env, "timeout": timeout}
        return subprocess.run([sys.executable, *arguments], **given, capture_output=True, text=True, check=False)

    def stopped(self, name: str, *overrides: str, steps: int) -> Path:
        """A run that got SIGTERM within its second epoch, or one that came after it on a busy machine.

        Args:
            name: Its directories begin with it.
            overrides: Of its command.
            steps: Of an epoch. A signal that comes at the end of one doesn't count.
        """
        command = [sys.executable, "-m", "strobe", "train", "--config-dir", "conf", *overrides]
        said = ""
        for attempt in range(5):
            run = self.directory / f"{name}{attempt}"
            process = subprocess.Popen(
                [*command, f"hydra.run.dir={run}"],
                cwd=self.directory,
                env=self.env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            while process.poll() is None and not rows(run):
                time.sleep(0.02)
            time.sleep(0.3 * float(next(iter(_written(run)), {}).get("seconds", 0)))
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=120)[1]
            saved = re.search(r"saved epoch \d+, step (\d+)", said)
            within = (saved is not None and int(saved[1]) % steps > 0) or "anew; continue" in said
            if process.returncode == 143 and within:
                assert report(run)["status"] == "preempted"
                return run
            assert process.returncode in (0, 143), said
        raise AssertionError(f"no run was stopped within an epoch: take more epochs, or longer ones. {said}")


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
