"""What the trials of a study are on the disk: each a job with its directory and, if it has run, its report."""

import math
from collections.abc import Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import FrozenTrial, TrialState

from strobe.config.compose import settled
from strobe.errors import ConfigError
from strobe.machine.secrets import masked_override
from strobe.record.identity import config_hash
from strobe.record.layout import FAILED, SUCCEEDED, Status
from strobe.record.report import Report, read_report
from strobe.sweeps.drive import Settings
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.jobs import adopt, job_name
from strobe.sweeps.planning import Planner
from strobe.sweeps.sampling import SearchSettings, most_trials
from strobe.sweeps.space import Space
from strobe.sweeps.studies import OpenStudy, runs_by_number

OVERRIDES = "overrides"  # user attribute of a trial: the command line of its job
_ENDS: dict[TrialState, Status] = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Trials:
    """The trials of a study and their runs. The reports in the runs' directories are the truth of how they ended.

    Args:
        opened: The study.
        space: What is searched.
        search: How.
        planner: Composes the configs of its jobs.
        settings: Of the sweep.

    Attributes:
        runs: By number, directory and report of the runs that lie in the sweep's directory.
    """

    def __init__(
        self, opened: OpenStudy, space: Space, search: SearchSettings, planner: Planner, settings: Settings
    ) -> None:
        self.opened = opened
        self.space = space
        self.search = search
        self.planner = planner
        self.settings = settings
        self.runs = runs_by_number(settings.directory)
        self._known: dict[tuple[str, ...], tuple[str, Demand]] = {}

    def make_those_of_runs(self) -> None:
        """Make the trials that a journal has lost and whose runs lie in the directory; `next_job` adopts them."""
        known = len(self.opened.trials())
        likely = range(known, known + len(self.runs) + most_trials(self.search, self.space))
        own = [n for n in likely if n in self.runs and self.overrides_of_run(n) is not None]
        study_id = self.opened.study_id
        for _ in range(known, max(own, default=-1) + 1):
            self.opened.storage.create_new_trial(study_id)

    def to_reopen(self) -> set[int]:
        """The finished trials that ``sweep.rerun`` wants run again, or whose result the study doesn't have."""
        found = set()
        for trial in self.opened.trials():
            if not trial.state.is_finished():
                continue
            job = self.finished_job(trial)
            rerun = self.settings.rerun == "all" or (self.settings.rerun == "failed" and job.status in FAILED)
            if rerun or self._is_missed(trial, job):
                found.add(trial.number)
        return found

    def _is_missed(self, trial: FrozenTrial, job: Job) -> bool:
        """Whether the run of a finished trial tells more of it than the study knows, which was damaged."""
        if self.report_of(job) is None:
            return False
        if trial.state == TrialState.FAIL and job.status in SUCCEEDED:
            return job.status == "pruned" or self.values_of(job) is not None
        return OVERRIDES not in trial.user_attrs or self.space.drawn(job.overrides) != trial.params

    def finished(self) -> dict[int, Job]:
        """The jobs of all trials that the study knows the end of, by number."""
        return {trial.number: self.finished_job(trial) for trial in self.opened.trials() if trial.state.is_finished()}

    def overrides_of_run(self, number: int) -> list[str] | None:
        """The command line of the run that lies in the directory under a number; None if it is not of this search."""
        if number not in self.runs:
            return None
        _, report = self.runs[number]
        drawn = {text.partition("=")[0].lstrip("+"): text for text in report.get("overrides", [])}
        overrides = [*self.space.fixed, *(text for key, text in drawn.items() if key in self.space.distributions)]
        return overrides if self._hash(overrides) == report.get("config_hash") else None

    def overrides_kept(self, trial: FrozenTrial) -> list[str] | None:
        """The command line of a trial's job, as the study has it; what is masked there, this command has."""
        secrets = {masked_override(override): override for override in self.space.fixed}
        kept = texts(trial.user_attrs.get(OVERRIDES))
        return kept and [secrets.get(override, override) for override in kept]

    def job_of(self, number: int, overrides: list[str]) -> Job:
        """The job of a trial, as it is before anything is known of its run."""
        keys = self.space.distributions
        varying = [override for override in overrides if override.partition("=")[0].lstrip("+") in keys]
        directory = self.settings.directory / job_name(number, varying)
        if not directory.exists() and self.overrides_of_run(number) is not None:
            directory, _ = self.runs[number]
        fingerprint, demand = self._composed(overrides)
        return Job(number, overrides, varying, directory, fingerprint, demand, environment=self._environment(number))

    def finished_job(self, trial: FrozenTrial) -> Job:
        """The job of a trial that the study knows the end of; how it ended, its report says best."""
        overrides = self.overrides_kept(trial) or self.overrides_of_run(trial.number) or []
        job = self.job_of(trial.number, overrides)
        if (report := self.report_of(job)) is not None:
            adopt(job, report)
        if job.plan != "skip":
            job.plan, job.status, job.error = "skip", _ENDS[trial.state], None
        if job.objective is None and job.status == "completed" and trial.values and not self.search.objectives:
            job.objective = trial.values[0]
        return job

    def report_of(self, job: Job) -> Report | None:
        """The report in a job's directory; None if there is none, or it is of another experiment."""
        try:
            report = read_report(job.directory)
        except ConfigError:
            return None
        # A job that was killed before it could write was written down by its sweep.
        settled = "config_hash" not in report and report["status"] in FAILED
        return report if settled or report.get("config_hash") == job.hash else None

    def _hash(self, overrides: Sequence[str]) -> str:
        return self._composed(overrides)[0]

    def _composed(self, overrides: Sequence[str]) -> tuple[str, Demand]:
        """The hash of a job's config, and what the job takes."""
        key = tuple(overrides)
        if key not in self._known:
            try:
                cfg = self.planner.compose(overrides)
                self._known[key] = config_hash(settled(cfg)), Demand.of(cfg.trainer)
            except (HydraException, OmegaConfBaseException):  # a point that makes no config: its job will say so
                self._known[key] = "none", Demand()
        return self._known[key]

    def _environment(self, number: int) -> dict[str, str]:
        if not prunes(self.search, self.settings):
            return {}
        # Not the database's URL, as an engine may write these down: it is in the environment that jobs inherit.
        return {"STROBE_TRIAL": f"{number}", "STROBE_STUDY": str(self.settings.directory)}

    def values_of(self, job: Job) -> list[float] | None:
        """The objectives of a completed job; None where one is missing or not finite."""
        values: list[Any] = [job.objective]
        if self.search.objectives:
            try:
                report = read_report(job.directory)
            except ConfigError:
                return None
            known = {
                **report.get("timing", {}),
                **report.get("metrics", {}),
                "parameters": report.get("parameters"),
            }
            values = [known.get(name) for name in self.search.objectives]
        if any(value is None or not math.isfinite(value) for value in values):
            return None
        return [float(value) for value in values]


def texts(value: object) -> list[str] | None:
    """A list of texts that is one."""
    return list(value) if isinstance(value, list) and value and all(isinstance(text, str) for text in value) else None


def prunes(search: SearchSettings, settings: Settings) -> bool:
    """Whether trials can be given up early: what the study is about has to be one metric, known after each epoch."""
    metric = settings.objective
    if metric is None or metric.startswith(("test/", "test_")):
        return False
    return search.pruner != "none" and (list(search.objectives) or [metric]) == [metric]
