"""What a person needs to know to repeat a run: versions, commit, command."""

import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from strobe.machine.program import typed

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "tensorboard", "numpy")


def environment() -> dict[str, Any]:
    """Of this process, for its report."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "python": platform.python_version(),
        **{package: installed_version(package) for package in _PACKAGES},
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
        "command": shlex.join([*typed("train"), *sys.argv[1:]]),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cwd": str(Path.cwd()),
    }


def installed_version(package: str) -> str | None:
    """Of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
