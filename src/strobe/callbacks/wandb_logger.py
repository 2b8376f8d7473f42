"""The logger of Weights & Biases: on the service if it can be reached, else in files that are sent later."""

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from strobe.callbacks.remote_logger import RemoteLogger, Story
from strobe.errors import InterruptedRunError, PreemptedError, first_line
from strobe.machine.secrets import redacted
from strobe.record.layout import FAILED, Status
from strobe.record.run_record import RunRecord

_EXIT_CODES: dict[Status, int] = {"interrupted": 130, "preempted": 143, **dict.fromkeys(FAILED, 1)}
_PATIENCE_S = 30.0  # for the service, as a run begins, and twice that as it ends
_OFFLINE = ("offline", "dryrun")

log = logging.getLogger(__name__)


class Wandb(RemoteLogger):
    """Tells Weights & Biases of a run; its files are in the run directory, below ``wandb``.

    Nobody is asked for a key: without one, or without a network, the run is kept offline, to be sent with
    ``wandb sync``. Neither the command line nor the code is told, for either may hold a secret.

    Args:
        project: What runs are kept under; None: ``$WANDB_PROJECT``, else ``strobe``.
        entity: The account or team; None: ``$WANDB_ENTITY``, else the account's own.
        group: Under which runs stand together; None: a sweep's name.
        offline: Whether nothing is to be sent.
        machine: Whether the use of processor and memory is told too.
        settings: Further ones of ``wandb.Settings``.
    """

    title = "Weights & Biases"
    key = "wandb"

    def __init__(
        self,
        *,
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        offline: bool = False,
        machine: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.project = project
        self.entity = entity
        self.group = group
        self.offline = offline
        self.machine = machine
        self.settings = dict(settings or {})
        self._run: Any = None

    @property
    def version(self) -> str | None:
        """The id of the remote run; None before there is one."""
        return None if self._run is None else str(self._run.id)

    @property
    def experiment(self) -> Any:
        """The ``wandb.Run``; None on ranks other than 0, and where none could be begun."""
        return self._run

    def _begin(self, story: Story) -> None:
        wandb = import_module("wandb")
        os.environ["WANDB_SILENT"] = "true"  # also what keeps it from asking for a key
        mode: Any = "offline" if self.offline else os.environ.get("WANDB_MODE", "online")
        identity = story.remembered.get("id") or secrets.token_hex(4)
        project = self.project or story.remembered.get("project") or os.environ.get("WANDB_PROJECT") or "strobe"
        self.remember(id=identity, project=project)

        def begun(mode: Literal["online", "offline", "disabled", "shared"]) -> Any:
            with _without_arguments():
                return wandb.init(
                    project=project,
                    entity=self.entity,
                    group=self.group or story.group,
                    id=identity,
                    name=story.name,
                    notes=story.note,
                    tags=[tag[:64] for tag in story.tags if tag],  # a longer one is refused
                    dir=str(story.directory),
                    config={**story.config, "run_directory": str(story.directory), "config_hash": story.config_hash},
                    allow_val_change=True,
                    resume=None if mode in _OFFLINE else "allow",  # offline it would only warn; the id says it
                    mode=mode,
                    settings=wandb.Settings(**{**_settings(self.machine), **self.settings}),
                )

        try:
            self._run = begun(mode)
        except (InterruptedRunError, PreemptedError):
            raise
        except Exception as error:
            if mode in _OFFLINE:
                raise
            log.warning("%s: %s; this run is kept offline", self.title, redacted(first_line(error)))
            self._warned = True
            self._run = begun("offline")
        if self._run.url:
            log.info("%s: %s", self.title, self._run.url)
        elif self._run.settings.mode in _OFFLINE:
            sync = os.path.relpath(Path(self._run.settings.sync_dir))
            log.info("%s, offline: send it with wandb sync %s", self.title, sync)

    def _tell(self, metrics: dict[str, float], step: int) -> None:
        if self._run is not None:
            self._run.log(metrics, step=step)  # metrics of one step share a row, and a resumed run repeats none

    def _finish(self, status: Status, summary: dict[str, Any], record: RunRecord) -> None:
        if self._run is None:
            return
        run, self._run = self._run, None
        run.log({}, commit=True)  # the last row, which would replace what is said next
        run.summary.update(summary)
        run.finish(exit_code=_EXIT_CODES.get(status, 0))


def _settings(machine: bool) -> dict[str, Any]:
    return {
        "silent": True,
        "console": "off",  # the terminal is the progress bar's, and train.log has the rest
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "x_disable_meta": True,
        "x_save_requirements": False,  # packages.txt has them
        "x_disable_stats": not machine,
        "x_disable_machine_info": not machine,
        "init_timeout": _PATIENCE_S,
        "finish_timeout": 2 * _PATIENCE_S,
        "finish_timeout_raises": True,
        "login_timeout": _PATIENCE_S,
    }


@contextmanager
def _without_arguments() -> Iterator[None]:
    """Hide what was typed, which wandb would write down as it is, secrets included."""
    before = sys.argv
    sys.argv = before[:1]
    try:
        yield
    finally:
        sys.argv = before
