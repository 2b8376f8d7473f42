"""Sweeps as a person starts them: commands in a directory of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, TEST_CONF, report

LONG = ("trainer.max_epochs=300", "trainer.enable_progress_bar=false")


@dataclass
class Sweeps:
    """Starts sweeps called `s` in a directory.

    Attributes:
        cwd: The directory.
        data_root: Of the tiny set.
        arguments: More that each command has.
        env: Variables that each command has.
    """

    cwd: Path
    data_root: Path
    arguments: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self, *arguments: str, multirun: bool = True, epochs: int = 2, cwd: Path | None = None, **env: str
    ) -> subprocess.Popen[str]:
        flags = [f"--config-dir={TEST_CONF}", *(["-m"] if multirun else [])]
        common = ["data=tiny", f"data.root={self.data_root}", "sweep.name=s", f"trainer.max_epochs={epochs}"]
        return subprocess.Popen(
            [sys.executable, "-m", "src.train", *flags, *common, "logger=none", *self.arguments, *arguments],
            cwd=cwd or self.cwd,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def directory(self) -> Path:
        """Of the sweep."""
        return self.cwd / "outputs" / "sweeps" / "s"


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)  # only a hang takes so long, on a busy machine too
    return process.returncode, output


def says(process: subprocess.Popen[str], text: str) -> str:
    """Read what a sweep prints until a line holds a text; returns the line."""
    assert process.stdout is not None
    while text not in (line := process.stdout.readline()):
        assert line, f"it ended without {text!r}"
    return line


def jobs(cwd: Path) -> dict[str, dict[str, Any]]:
    """Directory name -> report, of every job of the sweep."""
    found = sorted((cwd / "outputs" / "sweeps" / "s").glob("[0-9]*/report.json"))
    return {path.parent.name: report(path.parent) for path in found}


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def has_trained(cwd: Path, count: int) -> bool:
    """Whether so many jobs have a checkpoint to go on from."""
    return len(list((cwd / "outputs/sweeps/s").glob("[0-9]*/checkpoints/last.ckpt"))) >= count


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or after
        return False
    return state != "Z"
