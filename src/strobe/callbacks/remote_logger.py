"""A logger whose run lives somewhere else than in the run directory, and which may fail without costing anything."""

import json
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from strobe.errors import InterruptedRunError, PreemptedError, first_line
from strobe.machine.rank import process_rank
from strobe.machine.secrets import masked, redacted
from strobe.record.files import write_atomically
from strobe.record.layout import REMOTES, Status
from strobe.record.run_record import RunRecord

_SWEEPS = "multirun.yaml"  # that Hydra writes to the directory of a sweep

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Story:
    """What a remote run is told of the run that it stands for; nothing in it is a secret.

    Attributes:
        directory: The run directory, absolute.
        name: What a person called it, else the directory's own name.
        note: What a person wants to remember of it; None for nothing.
        tags: Of that person.
        group: The name of the sweep that it is a job of; None for a run of its own.
        config: The whole config, as `config.yaml` has it.
        commit: Of the code, in git; None where it is not known.
        config_hash: Tells experiments apart; see `strobe.record.identity`.
        remembered: What an earlier process of the same run has left with `RemoteLogger.remember`.
    """

    directory: Path
    name: str
    note: str | None
    tags: list[str]
    group: str | None
    commit: str | None
    config: dict[str, Any]
    config_hash: str
    remembered: dict[str, str] = field(default_factory=dict)


class RemoteLogger(Logger):
    """Tells a service of a run: begun once it is known to train, ended with the status that its report has.

    A service that can't be reached costs one warning, never a result. Ranks other than 0 say nothing.

    Attributes:
        title: What the service is called.
        key: Under which the run directory remembers the remote run.
    """

    title: str
    key: str

    def __init__(self) -> None:
        super().__init__()
        self._directory: Path | None = None
        self._warned = False

    @property
    def name(self) -> str:
        """See `key`."""
        return self.key

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is told as the run begins, and what a module notes may hold a secret."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Tell of metrics at a step, the number of optimizer steps before it."""
        if self._directory is not None:
            with self._never_fatal("what it was told since is in metrics.csv"):
                self._tell({name: float(value) for name, value in metrics.items()}, step or 0)

    def begin(self, record: RunRecord) -> None:
        """Begin the remote run, or go on with the one that the run directory remembers."""
        if process_rank() > 0:
            return
        self._directory = record.directory
        with self._never_fatal("this run is not shown there"):
            self._begin(_story(record, self.key))

    def finish(self, record: RunRecord) -> None:
        """End the remote run as the run has ended."""
        if self._directory is None:
            return
        with self._never_fatal("the results are in the run directory"):
            self._finish(record.report["status"], summary(record), record)
        self._directory = None

    def remember(self, **facts: str) -> None:
        """Have a later process of this run know the remote run: written to the run directory, without secrets."""
        assert self._directory is not None, "the run has begun"
        path = self._directory / REMOTES
        text = json.dumps({**_remembered(path), self.key: {name: redacted(value) for name, value in facts.items()}})
        write_atomically(path, f"{text}\n")

    @abstractmethod
    def _begin(self, story: Story) -> None:
        """Begin or go on."""

    @abstractmethod
    def _tell(self, metrics: dict[str, float], step: int) -> None:
        """Send, or keep to be sent."""

    @abstractmethod
    def _finish(self, status: Status, summary: dict[str, Any], record: RunRecord) -> None:
        """Send what is kept, and the end."""

    @contextmanager
    def _never_fatal(self, consequence: str) -> Iterator[None]:
        try:
            yield
        except (InterruptedRunError, PreemptedError):  # a signal came meanwhile
            raise
        except Exception as error:
            if not self._warned:
                log.warning("%s: %s; training goes on, and %s", self.title, redacted(first_line(error)), consequence)
            self._warned = True


def summary(record: RunRecord) -> dict[str, Any]:
    """How a run has ended: its status, final metrics, and which value was the best."""
    report = record.report
    told: dict[str, Any] = {"status": report["status"], **report["metrics"]}
    if (best := report["best"]) is not None and best["value"] is not None:
        told |= {f"best/{best['metric']}": best["value"], "best/epoch": best["epoch"]}
    if report["error"] is not None:
        told["error"] = redacted(str(report["error"]["message"]))
    return told


def _story(record: RunRecord, key: str) -> Story:
    directory, report = record.directory.resolve(), record.report
    in_sweep = (directory.parent / _SWEEPS).exists()
    group = directory.parent.name if in_sweep else None
    own_name = f"{group}/{directory.name}" if in_sweep else directory.name
    return Story(
        directory=directory,
        name=redacted(str(report["name"] or own_name)),
        note=report["note"],
        tags=[redacted(str(tag)) for tag in report["tags"]],
        group=group,
        commit=report["environment"].get("git_commit"),
        config=_redacted(masked(dict(record.config))),
        config_hash=report["config_hash"],
        remembered=_remembered(directory / REMOTES).get(key, {}) if record.resumed else {},
    )


def _redacted(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(name): _redacted(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_redacted(value) for value in node]
    return redacted(node) if isinstance(node, str) else node


def _remembered(path: Path) -> dict[str, dict[str, str]]:
    """What is there; nothing of a file that is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return (
        {str(key): facts for key, facts in found.items() if isinstance(facts, dict)} if isinstance(found, dict) else {}
    )
