"""The run directory: the only code that reads or writes what a run leaves behind."""

import csv
import hashlib
import io
import json
import math
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import ConfigError, RunError
from src.ranks import process_rank

SCHEMA = 1
REPORT = "report.json"
CONFIG = "config.yaml"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
BEST, LAST = "best.ckpt", "last.ckpt"

# How a run can end, by what it means for a sweep.
SUCCEEDED = ("completed", "pruned")
FAILED = ("failed", "diverged", "oom")
STOPPED = ("preempted", "interrupted")  # to be gone on with

_PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "hydra-core", "omegaconf", "tensorboard", "numpy")
# What may differ between two runs of the same experiment.
_NOT_HASHED = {"name", "tags", "resume", "validate", "sweep", "data.root", "data.download"}
_LOADED_AT = time.time()


class RunRecord:
    """The report of a run in progress. Every change is on disk when the method returns.

    Ranks other than 0 hold a record that writes nothing.

    Attributes:
        directory: The run directory.
        report: What `report.json` holds.
        resumed: Whether the directory held a run that this one continues.
    """

    def __init__(self, directory: Path, report: dict[str, Any], *, resumed: bool, writes: bool) -> None:
        self.directory = directory
        self.report = report
        self.resumed = resumed
        self._writes = writes
        self._rows: list[dict[str, Any]] = []
        self._earlier_s: float = report["timing"].get("total_s", 0.0)  # of the processes before, of a resumed run

    @classmethod
    def start(cls, directory: Path, cfg: DictConfig, overrides: Iterable[str], *, resume: bool) -> "RunRecord":
        """Begin a run: write the config and a report with the status ``running``.

        Args:
            directory: The run directory; made if it is not there.
            cfg: The resolved config.
            overrides: What was typed.
            resume: Continue the run that the directory holds.

        Raises:
            ConfigError: If the directory holds a run already and ``resume`` is false, or can't be written.
        """
        writes = process_rank() == 0
        old: dict[str, Any] = {}
        if resume:
            old = read_report(directory)
        report = {
            "schema": SCHEMA,
            "status": "running",
            "name": cfg.get("name"),
            "tags": list(cfg.get("tags") or []),
            "seed": cfg.get("seed"),
            "config_hash": config_hash(plain(cfg)),
            "overrides": [*old.get("overrides", []), *overrides],
            "metrics": old.get("metrics", {}),
            "objective": None,
            "objective_metric": None,
            "best": old.get("best"),
            "requested": {},
            "effective": {},
            "timing": old.get("timing", {}),
            "parameters": None,
            "environment": environment(),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "ended": None,
            "error": None,
        }
        record = cls(directory, report, resumed=resume, writes=writes)
        if writes:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                if not resume:
                    (directory / REPORT).open("x").close()  # of two runs that begin at once, one gets the directory
                write_atomically(directory / CONFIG, OmegaConf.to_yaml(cfg))
                record._write()
            except FileExistsError:
                raise ConfigError(already_holds_a_run(directory)) from None
            except OSError as error:
                raise ConfigError(f"can't write to the run directory {str(directory)!r}: {error.strerror}") from error
        if resume:
            record._rows = read_metrics(directory)
        return record

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints."""
        return self.directory / CHECKPOINTS

    def update(self, **fields: Any) -> None:
        """Set fields of the report; dictionaries are merged into what is there."""
        for key, value in fields.items():
            old = self.report.get(key)
            self.report[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        self._write()

    def add_epoch(self, row: dict[str, Any]) -> None:
        """Add a row to `metrics.csv`; rows from this epoch on, of a run that is being continued, are replaced."""
        self._rows = [old for old in self._rows if int(old["epoch"]) < row["epoch"]]
        self._rows.append(row)
        if self._writes:
            columns = list(dict.fromkeys(key for each in self._rows for key in each))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
            write_atomically(self.directory / METRICS, text.getvalue())

    def finish(self, status: str, error: BaseException | None = None) -> None:
        """Write how the run ended."""
        self.report["timing"]["total_s"] = round(self._earlier_s + process_age_s(), 3)
        described = None if error is None else {"type": type(error).__name__, "message": str(error)}
        self.update(status=status, error=described, ended=datetime.now(UTC).isoformat(timespec="milliseconds"))

    def _write(self) -> None:
        if self._writes:
            write_atomically(self.directory / REPORT, json.dumps(_plain(self.report), indent=2) + "\n")


def already_holds_a_run(directory: Path) -> str:
    """The message for a directory that must not be written over."""
    return (
        f"{directory} already holds a run: continue it with resume={directory}, "
        "or choose another directory with hydra.run.dir=<dir>"
    )


def read_report(directory: Path) -> dict[str, Any]:
    """The report of a run; a ``running`` one whose process is gone has the status ``died``.

    Raises:
        ConfigError: If the directory is not that of a run, or its report is damaged.
    """
    path = directory / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(entry.name for entry in directory.iterdir())) if directory.is_dir() else "no directory"
        raise ConfigError(f"{directory} is not a run directory: it has no {REPORT} ({known or 'empty'})") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if not isinstance(report, dict) or "status" not in report:
        raise ConfigError(f"{path} is not the report of a run")
    if report["status"] == "running" and report.get("host") == socket.gethostname() and not _is_alive(report):
        report["status"] = "died"
    return report


def settle_report(directory: Path, status: str, message: str) -> dict[str, Any]:
    """Write down the end of a run that could not do so itself; returns its report."""
    try:
        report = read_report(directory)
    except ConfigError:
        report = {"schema": SCHEMA, "name": None, "overrides": [], "metrics": {}, "objective": None, "best": None}
    report |= {"status": status, "error": {"type": "Killed", "message": message}}
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / REPORT, json.dumps(_plain(report), indent=2) + "\n")
    return report


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.csv`, numbers as written; none where there is no file."""
    try:
        with (directory / METRICS).open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]
    except (OSError, ValueError, csv.Error):  # not there, or not text
        return []


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A config as plain containers."""
    container = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(container, dict), "a DictConfig becomes a dict"
    return {str(key): value for key, value in container.items()}


def config_hash(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that are equal for two configs which ask for the same experiment."""
    kept: dict[str, Any] = {key: value for key, value in config.items() if key not in _NOT_HASHED}
    for dotted in _NOT_HASHED:
        group, _, key = dotted.partition(".")
        if key and isinstance(kept.get(group), dict):
            kept[group] = {name: value for name, value in kept[group].items() if name != key}
    text = json.dumps(_plain(kept), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def environment() -> dict[str, Any]:
    """What a person needs to know to repeat the run."""
    packages: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = None
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return {
        "python": platform.python_version(),
        **packages,
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
        "command": shlex.join(["python", "-m", _main_module(), *sys.argv[1:]]),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cwd": str(Path.cwd()),
    }


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content: a reader, or a process killed in between, sees the old or the new text whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def process_age_s() -> float:
    """Seconds since this process began; where the system doesn't tell, since this module was loaded."""
    try:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - _start_ticks("self") / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time() - _LOADED_AT


def status_of(error: BaseException) -> str:
    """The status that a run which ended with ``error`` is recorded under."""
    if isinstance(error, RunError):
        return error.status
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def _proc_stat(pid: int | str) -> list[str]:
    """The fields of Linux's /proc/<pid>/stat from the third on: the command before it, in brackets, may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def _start_ticks(pid: int | str) -> int:
    return int(_proc_stat(pid)[19])


def _is_alive(report: Mapping[str, Any]) -> bool:
    """Whether the process that wrote the report still runs, and is not another one with its number."""
    pid = report.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is someone else's
        return True
    try:
        if _proc_stat(pid)[0] == "Z":  # ended, and not yet collected by its parent
            return False
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        began = time.time() - uptime + _start_ticks(pid) / os.sysconf("SC_CLK_TCK")
        return began <= datetime.fromisoformat(report["started"]).timestamp() + 1
    except (OSError, ValueError, KeyError, IndexError):
        return True


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _main_module() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec is not None else "src.train"


def _plain(value: Any) -> Any:
    """The value as strict JSON can hold it: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
