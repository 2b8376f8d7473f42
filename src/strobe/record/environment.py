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
from strobe.machine.secrets import masked_assignments, masked_override

_PACKAGES = (
    "strobe",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "tensorboard",
    "numpy",
)

_LARGEST_DIFF = 1_000_000  # characters


def environment() -> dict[str, Any]:
    """Of this process, for its report. The commit is that of the repository in which it was started."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "python": platform.python_version(),
        **{package: installed_version(package) for package in _PACKAGES},
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
        "command": shlex.join([*typed("train"), *map(masked_override, sys.argv[1:])]),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cwd": str(Path.cwd()),
    }


def uncommitted_changes() -> str | None:
    """The difference between the files of that repository and its commit; None without any, or if it is over 1 MB.

    What a line assigns to the name of a secret is masked.
    """
    changes = _git("diff", "HEAD")
    return masked_assignments(changes) + "\n" if changes and len(changes) <= _LARGEST_DIFF else None


def installed_packages() -> str:
    """Every distribution that is installed, as `pip install -r` takes it.

    From the names of their folders: to read the metadata in them takes a tenth of a second, for every job of a sweep.
    """
    folders = (folder for place in sys.path if Path(place).is_dir() for folder in Path(place).glob("*.dist-info"))
    versions = dict(folder.stem.rsplit("-", 1) for folder in folders if "-" in folder.stem)
    return "".join(
        f"{name}=={version}\n" for name, version in sorted(versions.items(), key=lambda item: item[0].lower())
    )


def installed_version(package: str) -> str | None:
    """Of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
