"""The trials of a search as jobs: asked for, taken over from processes that are gone, told to the study."""

import math
import time
from contextlib import suppress

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from strobe.machine.disk import trouble
from strobe.machine.secrets import masked_override
from strobe.record.database import DatabaseError
from strobe.record.epochs import read_epochs
from strobe.record.layout import STOPPED, STUDY
from strobe.sweeps.at_work import LOCKS
from strobe.sweeps.display import Display
from strobe.sweeps.job import Job
from strobe.sweeps.jobs import adopt, has_ended, rejoin
from strobe.sweeps.sampling import most_trials, sampler_of
from strobe.sweeps.trials import OVERRIDES, Trials, prunes

ASK_LOCK = ".ask.lock"
_PATIENCE_S = 60.0  # for a database that is away while no job is under way
_PAUSE_S = 1.0


class Supply:
    """Asks a study for trials and tells it how their jobs ended.

    The reports in the jobs' directories are the truth. What the study doesn't know of them, because the process that
    would have told it was killed, or its disk was full, or its journal damaged, it is told here.

    Args:
        trials: Of the study.

    Attributes:
        jobs: By number of the trial: those that had finished before, and those of this process.
        troubles: What could not be written down, in lines.
        display: Shows a person what happens.
    """

    def __init__(self, trials: Trials) -> None:
        self.trials = trials
        self.opened, self.study = trials.opened, trials.opened.study
        self.space, self.search, self.settings = trials.space, trials.search, trials.settings
        self.jobs = trials.finished()
        self.troubles: list[str] = []
        self.display: Display | None = None
        self._locks: dict[int, FileLock] = {}
        self._untold: dict[int, Job] = {}
        self._taken: list[Job] = []
        self._most = most_trials(self.search, self.space)
        self._given_up = False
        self._away: str | None = None
        self._began = time.monotonic()

    def take_ends(self) -> int:
        """Tell the study what has ended without its knowledge; returns how many trials that are."""
        before = len(self.jobs)
        for trial in self.opened.trials():
            if trial.state == TrialState.RUNNING and trial.number in self.trials.runs:
                _, report = self.trials.runs[trial.number]
                if has_ended(report, self.settings.rerun) and (job := self._adopt(trial)) is not None:
                    self._taken.append(job)  # what lies there is of another experiment
        return len(self.jobs) - before - len(self._taken)

    def next_job(self) -> Job | None:
        """A trial that a process which is gone has left behind, else a new one, else None."""
        waits_until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._tell_untold()
                job = self._taken.pop(0) if self._taken else self._next_job()
            except OSError as error:
                self._failed(error)
                under_way = self._locks.keys() - self._untold.keys()
                if under_way or not isinstance(error, DatabaseError) or time.monotonic() > waits_until:
                    return None  # the jobs under way are waited for, and then it is tried again
                time.sleep(_PAUSE_S)
            else:
                self._away = None
                return job

    def _next_job(self) -> Job | None:
        try:
            with self.opened.reached(), FileLock(self.settings.directory / ASK_LOCK):
                known = self.opened.trials()
                for trial in known:
                    if trial.state == TrialState.RUNNING and (adopted := self._adopt(trial)) is not None:
                        return adopted
                if self._given_up or len(known) >= self._most or self._time_is_up():
                    return None
                self.study.sampler = sampler_of(self.search, self.space, len(known))
                asked = self.study.ask()
                self._lock(asked.number)
                job = self.trials.job_of(asked.number, self._drawn(asked))
        except OSError:
            for number in self._locks.keys() - self.jobs.keys():  # to be asked for again
                self._unlock(number)
            raise
        self.jobs[job.number] = job
        return job

    def tell(self, job: Job) -> None:
        """Tell the study how a job ended; one that was interrupted, or never began, stays open, to be resumed."""
        never_began = job.plan != "skip" and not job.began
        if never_began:
            self._given_up = True  # what kept this one from beginning would keep the next
        if never_began or job.status in STOPPED or job.status == "running":
            self._unlock(job.number)
            return
        values = self.trials.values_of(job)
        if job.status == "completed" and values is None:
            job.status, job.error = "failed", "what is searched for is missing, or no finite number"
        state = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(job.status, TrialState.FAIL)
        # Samplers look back at a trial that has ended; the one for the next trial does so when it draws.
        self.study.sampler = optuna.samplers.RandomSampler()
        try:
            with self.opened.reached():
                self.study.tell(
                    job.number, values if state == TrialState.COMPLETE else None, state=state, skip_if_finished=True
                )
        except OSError as error:  # the report has it: the next process tells it, if this one never can
            self._untold[job.number] = job
            self._failed(error)
            return
        self._away = None
        self._untold.pop(job.number, None)
        self._unlock(job.number)

    def release(self) -> None:
        """Let go of trials that are still open."""
        with suppress(OSError):
            self._tell_untold()
        if self._away is not None:
            self._note(self._away)
        if self._untold:
            place = STUDY if self.opened.database is None else self.opened.database.shown
            self._note(f"{len(self._untold)} results are not in {place} yet: the same command puts them there")
        for number in list(self._locks):
            self._unlock(number)

    def _tell_untold(self) -> None:
        for job in list(self._untold.values()):
            self.tell(job)
            if self._away is not None:  # the others would wait as long
                raise DatabaseError(self._away)

    def _adopt(self, trial: FrozenTrial) -> Job | None:
        """Take over a trial whose process is gone: tell its result if it has one, else run or resume its job."""
        if trial.number in self.jobs:  # this process had its turn
            return None
        try:
            self._lock(trial.number)
        except Timeout:
            return None
        job = self.trials.job_of(trial.number, self._overrides(trial))
        if (report := self.trials.report_of(job)) is not None:
            adopt(job, report, self.settings.rerun)
        rejoin(job, self.settings.engine, self.settings.rerun)
        self.jobs[job.number] = job
        if job.plan != "skip":
            return job
        self.tell(job)
        if self.display is not None:
            self.display.started(job)
        return None

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        """The command line of an open trial's job: as the study has it, as its run has it, or drawn now."""
        known = self.trials.overrides_kept(trial)
        of_run = self.trials.overrides_of_run(trial.number)
        overrides = known or of_run
        trial_id = self.opened.trial_id(trial.number)
        if overrides is not None:
            for name, value in self.space.drawn(overrides).items():
                if name not in trial.params:
                    distribution = self.space.distributions[name]
                    internal = distribution.to_internal_repr(value)
                    self.opened.storage.set_trial_param(trial_id, name, internal, distribution)
            if of_run is not None:
                self._restore_epochs(trial, trial_id)
            if known is None:
                self.opened.storage.set_trial_user_attr(trial_id, OVERRIDES, list(map(masked_override, overrides)))
            return overrides
        self.study.sampler = sampler_of(self.search, self.space, trial.number)
        return self._drawn(optuna.Trial(self.study, trial_id))

    def _drawn(self, asked: optuna.Trial) -> list[str]:
        overrides = [*self.space.fixed, *self.space.suggest(asked)]
        asked.set_user_attr(OVERRIDES, list(map(masked_override, overrides)))
        return overrides

    def _restore_epochs(self, trial: FrozenTrial, trial_id: int) -> None:
        """What its epochs were, by which others are pruned."""
        directory, _ = self.trials.runs[trial.number]
        for row in read_epochs(directory) if prunes(self.search, self.settings) else []:
            epoch, value = int(row["epoch"]), float(row.get(self.settings.objective or "") or "nan")
            if epoch not in trial.intermediate_values and math.isfinite(value):
                self.opened.storage.set_trial_intermediate_value(trial_id, epoch, value)

    def _time_is_up(self) -> bool:
        timeout = self.search.timeout
        if timeout is None or time.monotonic() - self._began < timeout:
            return False
        self._given_up = True
        self._say(f"No further trial begins: hydra.sweeper.timeout={timeout:g} seconds are over")
        return True

    def _failed(self, error: OSError) -> None:
        """Take down that the study can't be written; a database that comes back has lost nothing."""
        if not isinstance(error, DatabaseError):
            self._note(trouble(error, self.settings.directory / STUDY))
            return
        if self._away is None:
            self._say(f"{error} (the search waits for it, and jobs under way go on)")
        self._away = str(error)

    def _note(self, line: str) -> None:
        if line not in self.troubles:
            self.troubles.append(line)
            self._say(line)

    def _say(self, line: str) -> None:
        if self.display is not None:
            self.display.say(line)

    def _lock(self, number: int) -> None:
        if number in self._locks:
            raise Timeout(str(number))
        locks = self.settings.directory / LOCKS
        locks.mkdir(exist_ok=True)
        lock = FileLock(locks / f"{number}.lock")
        lock.acquire(timeout=0)
        self._locks[number] = lock

    def _unlock(self, number: int) -> None:
        if (lock := self._locks.pop(number, None)) is not None:
            lock.release()
