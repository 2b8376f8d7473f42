"""The logger of MLflow: to a server, or to a database in a file that all runs started beside this one share."""

import getpass
import importlib.util
import logging
import os
import re
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from strobe.callbacks.remote_logger import RemoteLogger, Story
from strobe.machine.secrets import MASK, learn_url, redacted
from strobe.record.layout import STOPPED, SUCCEEDED, Status
from strobe.record.run_record import RunRecord
from strobe.record.settings import leaves

STORE = Path("outputs", "mlflow.db")
"""Where runs are kept without a server, seen from where the command was typed."""

_IMPATIENT = {  # MLflow's own would keep a run waiting for minutes for a server that is gone
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_LOCK_S = 60  # that several jobs wait for each other to write to the file
_MOST_POINTS, _MOST_SETTINGS = 1000, 100  # in one call, by MLflow's rules
_LONGEST = 5000
_NOT_IN_A_NAME = re.compile(r"[^\w./ -]")

log = logging.getLogger(__name__)


class MLflow(RemoteLogger):
    """Tells MLflow of a run: its settings as parameters, its metrics by step, how it has ended.

    Args:
        tracking_uri: A server's address, or that of a database; None: ``$MLFLOW_TRACKING_URI``, else the file
            ``outputs/mlflow.db``.
        experiment: What runs are kept under; None: ``$MLFLOW_EXPERIMENT_NAME``, else ``strobe``.
    """

    title = "MLflow"
    key = "mlflow"

    def __init__(self, *, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        super().__init__()
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment
        self._client: Any = None
        self._id: str | None = None
        self._kept: list[Any] = []  # to be sent with the next call
        self._told: dict[str, int] = {}  # the last step of each metric
        self._down = False

    @property
    def version(self) -> str | None:
        """The id of the remote run; None before there is one."""
        return self._id

    @property
    def experiment(self) -> Any:
        """The ``MlflowClient``; None on ranks other than 0, and where no run could be begun."""
        return self._client

    def save(self) -> None:
        """Send what is kept; Lightning asks for it with every row of metrics."""
        if self._kept and self._id is not None and not self._down:
            with self._never_fatal("what it was told since is sent at the end, if it is there again"):
                self._down = True
                self._send()
                self._down = False

    def _begin(self, story: Story) -> None:
        for variable, value in _IMPATIENT.items():
            os.environ.setdefault(variable, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of MLflow's use of SQLAlchemy, once in a process
            uri = self._open(story)
        self.remember(id=str(self._id), store=uri)
        log.info("MLflow, run %s: %s", self._id, _look(uri))

    def _open(self, story: Story) -> str:
        """Begin a run, or take one up; the address of the store."""
        for library in ("mlflow", "alembic"):
            logging.getLogger(library).setLevel(logging.WARNING)  # the making of the database, table by table
        uri = self._store(story)
        learn_url(uri)
        self._client = import_module("mlflow").MlflowClient(tracking_uri=_patient(uri))
        known = self._take_up(story.remembered.get("id"))
        if known is None:
            name = self.experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "strobe"
            experiment = _experiment(self._client, name, uri)
            run = self._client.create_run(experiment, run_name=story.name, tags=_tags(story))
            self._id, known = run.info.run_id, {}
        self._tell_settings(story, known)
        return uri

    def _tell(self, metrics: dict[str, float], step: int) -> None:
        if self._id is None:
            return
        entities = import_module("mlflow.entities")
        now_ms = int(time.time() * 1000)
        for name, value in metrics.items():
            if step > self._told.get(name, -1):  # a run that is resumed takes some steps again
                self._told[name] = step
                self._kept.append(entities.Metric(_NOT_IN_A_NAME.sub("_", name), value, now_ms, step))

    def _finish(self, status: Status, summary: dict[str, Any], record: RunRecord) -> None:
        if self._id is None:
            return
        last = max(self._told.values(), default=0)
        numbers = {name: value for name, value in summary.items() if not isinstance(value, str)}
        self._tell({name: value for name, value in numbers.items() if name not in self._told}, last)
        self._send()
        for name, value in summary.items():
            if isinstance(value, str):
                self._client.set_tag(self._id, name, value[:_LONGEST])
        ended = "FINISHED" if status in SUCCEEDED else "KILLED" if status in STOPPED else "FAILED"
        self._client.set_terminated(self._id, ended)

    def _store(self, story: Story) -> str:
        remembered = story.remembered.get("store", MASK)
        given = self.tracking_uri or (None if MASK in remembered else remembered)
        return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.absolute()}"

    def _take_up(self, remembered: str | None) -> dict[str, str] | None:
        """Go on with a run; its parameters, or None where there is no such run, any more or in this store."""
        if remembered is None:
            return None
        try:
            run = self._client.get_run(remembered)
        except import_module("mlflow.exceptions").MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        self._id = remembered
        self._client.update_run(remembered, status="RUNNING")
        for name in run.data.metrics:
            self._told[name] = max(point.step for point in self._client.get_metric_history(remembered, name))
        return dict(run.data.params)

    def _tell_settings(self, story: Story, known: dict[str, str]) -> None:
        """As parameters; MLflow lets none change, so what a resumed run changes becomes a tag."""
        entities = import_module("mlflow.entities")
        settings = {_NOT_IN_A_NAME.sub("_", name): str(value)[:_LONGEST] for name, value in leaves(story.config)}
        settings.pop("resume", None)  # where the run itself is
        params = [entities.Param(name, value) for name, value in settings.items() if name not in known]
        changed = [name for name in known if name in settings and settings[name] != known[name]]
        tags = [entities.RunTag(f"resumed/{name}", settings[name]) for name in changed]
        for begin in range(0, max(len(params), len(tags)), _MOST_SETTINGS):
            part = slice(begin, begin + _MOST_SETTINGS)
            self._client.log_batch(self._id, params=params[part], tags=tags[part])

    def _send(self) -> None:
        while self._kept:
            self._client.log_batch(self._id, metrics=self._kept[:_MOST_POINTS])
            del self._kept[:_MOST_POINTS]


def _look(uri: str) -> str:
    """How a person gets to see a store."""
    if not uri.startswith("sqlite:"):
        return redacted(uri)
    look = f"mlflow ui --backend-store-uri {uri}"
    # mlflow-skinny writes all, and has the command, but none of its pages.
    return look if importlib.util.find_spec("flask") else f"to look at it, pip install mlflow, then {look}"


def _tags(story: Story) -> dict[str, str]:
    told = {
        "mlflow.user": getpass.getuser(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "strobe",
        "mlflow.source.git.commit": story.commit,
        "mlflow.note.content": story.note,
        "run_directory": str(story.directory),
        "config_hash": story.config_hash,
        "sweep": story.group,
        "tags": ", ".join(story.tags),
    }
    return {name: value[:_LONGEST] for name, value in told.items() if value}


def _experiment(client: Any, name: str, uri: str) -> str:
    """The id of the experiment of a name, made if there is none; of several jobs at once, one makes it."""
    for last in (False, True):
        if (found := client.get_experiment_by_name(name)) is not None and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        place = None
        if uri.startswith("sqlite:"):  # else artifacts would go below whatever directory this process is in
            place = Path(uri.removeprefix("sqlite:///")).with_name("mlflow-artifacts").absolute().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except import_module("mlflow.exceptions").MlflowException:
            if last:
                raise
    raise AssertionError("the second try has returned or raised")


def _patient(uri: str) -> str:
    return f"{uri}?timeout={_LOCK_S}" if uri.startswith("sqlite:///") and "?" not in uri else uri
