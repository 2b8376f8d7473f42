"""A search by Optuna: trials as jobs, the study on disk beside them."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, TrialState

from strobe.config.rules import choice, whole
from strobe.config.rules import number as a_number
from strobe.config.values import problems
from strobe.config.written import written
from strobe.errors import ConfigError, require
from strobe.machine.secrets import masked_override
from strobe.record.identity import identity
from strobe.record.layout import METRICS, STOPPED
from strobe.record.report import read_report
from strobe.record.study import NAME, PrunerName, make_pruner, study_storage
from strobe.sweeps.display import Display
from strobe.sweeps.drive import Settings, StopSweepError, drive
from strobe.sweeps.jobs import Job, Planner, adopt, job_name
from strobe.sweeps.quasirandom import HaltonSampler
from strobe.sweeps.space import Space

log = logging.getLogger(__name__)

SamplerName = Literal["tpe", "random", "grid", "nsgaii", "cmaes", "qmc"]
_OTHER = {"objective": "another objective", "space": "another space", "settings": "other settings"}
_OVERRIDES = "overrides"  # user attribute of a trial: the command line of its job


@dataclass(frozen=True)
class SearchSettings:
    """How to search.

    Attributes:
        n_trials: Of the whole study, over all processes and restarts.
        sampler: How points are chosen.
        pruner: How trials are given up early.
        seed: Of the sampler.
        objectives: Names of metrics, or ``parameters`` or ``total_s``; empty is the run's objective.
        conditions: See `strobe.sweeps.space.Space`.
        timeout: Seconds after which this process begins no further trial; None for no limit.

    Raises:
        ConfigError: If a value is not among those allowed.
    """

    n_trials: int
    sampler: SamplerName
    pruner: PrunerName
    seed: int
    objectives: Sequence[str]
    conditions: Sequence[str]
    timeout: float | None = None

    def __post_init__(self) -> None:
        rules = {
            "n_trials": whole(min=1, example=20),
            "sampler": choice(*get_args(SamplerName)),
            "pruner": choice(*get_args(PrunerName)),
            "seed": whole(min=0, example=1),
            "timeout": a_number(above=0, or_=[None], example=3600),
        }
        wrong = [
            f"hydra.sweeper.{name}={getattr(self, name)}: must be {rule.allowed}, for example {rule.example}"
            for name, rule in rules.items()
            if not rule.holds(getattr(self, name))
        ]
        if len(self.objectives) > 1 and self.sampler in ("grid", "cmaes"):
            wrong.append(f"hydra.sweeper.sampler={self.sampler} has one objective; choose nsgaii, tpe, random or qmc")
        require(wrong)


def run_search(
    arguments: Sequence[str],
    search: SearchSettings,
    planner: Planner,
    settings: Settings,
) -> list[Job]:
    """Search until the study has its trials; several processes may work on one directory.

    Args:
        arguments: The overrides of the command, search space included.
        search: How to search.
        planner: Composes the configs of its jobs.
        settings: Of the sweep.

    Returns:
        The jobs of this process, with status and objective.

    Raises:
        ConfigError: If the space or a config is wrong.
        RunError: If a signal ended the search.
    """
    space = Space(planner.parser.parse_overrides(list(arguments)), search.conditions)
    if not space.distributions:
        raise ConfigError("nothing to search: give a space, as in optimizer.lr=tag(log,interval(1e-4,1e-1))")
    about = _about(search, space, planner, settings)
    settings.directory.mkdir(parents=True, exist_ok=True)
    study = _open_or_create(search, about, settings)
    supply = _Supply(study, space, search, planner, settings)
    with Display(search.n_trials, mode=settings.mode, slots=len(settings.slots)) as display:
        finished = sum(trial.state.is_finished() for trial in study.trials)
        display.say(f"{search.n_trials} trials in {settings.directory}: {finished} finished before; {search.sampler}")
        if search.pruner != "none" and not _prunes(search, settings):
            display.say("No trial is ended early: what is searched for is known only at a trial's end")
        supply.display = display
        try:
            drive(supply.next_job, supply.planner, settings, display, supply.tell)
        except StopSweepError as error:
            display.say(f"Stopped, because {error} and sweep.on_failure=stop")
        finally:
            supply.release()
    return supply.jobs


class _Supply:
    """Asks the study for trials and tells it how their jobs ended."""

    def __init__(
        self, study: optuna.Study, space: Space, search: SearchSettings, planner: Planner, settings: Settings
    ) -> None:
        self.study = study
        self.space = space
        self.search = search
        self.planner = planner
        self.settings = settings
        self.display: Display | None = None
        self.jobs: list[Job] = []
        self._locks: dict[int, FileLock] = {}
        self._given_up = False
        self._began = time.monotonic()

    def next_job(self) -> Job | None:
        """A trial that a process which is gone has left behind, else a new one, else None."""
        with FileLock(self.settings.directory / ".ask.lock"):
            trials = self.study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state == TrialState.RUNNING and (job := self._adopt(trial)) is not None:
                    return job
            if self._given_up or len(trials) >= self.search.n_trials or self._time_is_up():
                return None
            self.study.sampler = _sampler(self.search, self.space, len(trials))
            asked = self.study.ask()
            overrides = [*self.space.fixed, *self.space.suggest(asked)]
            self._lock(asked.number)
            asked.set_user_attr(_OVERRIDES, list(map(masked_override, overrides)))
        return self._job(asked.number, overrides)

    def _time_is_up(self) -> bool:
        timeout = self.search.timeout
        if timeout is None or time.monotonic() - self._began < timeout:
            return False
        self._given_up = True
        if self.display is not None:
            self.display.say(f"No further trial begins: hydra.sweeper.timeout={timeout:g} seconds are over")
        return True

    def tell(self, job: Job) -> None:
        """Tell the study how a job ended; one that was interrupted stays open, to be resumed."""
        if job.status in STOPPED:
            self._unlock(job.number)
            return
        values = self._values(job)
        if job.status == "pruned":
            self.study.tell(job.number, state=TrialState.PRUNED)
        elif job.status == "completed" and values is not None:
            self.study.tell(job.number, values)
        else:
            self.study.tell(job.number, state=TrialState.FAIL)
        self._unlock(job.number)

    def release(self) -> None:
        """Let go of trials that are still open."""
        for number in list(self._locks):
            self._unlock(number)

    def _job(self, number: int, overrides: list[str]) -> Job:
        varying = [
            override for override in overrides if override.partition("=")[0].lstrip("+") in self.space.distributions
        ]
        directory = self.settings.directory / job_name(number, varying)
        job = Job(number, overrides, varying, directory, hash="", environment=self._environment(number))
        if number == 0 and (wrong := problems(self.planner.compose(overrides))):
            self._given_up = True
            self.study.tell(number, state=TrialState.FAIL)
            require(wrong)
        self.jobs.append(job)
        return job

    def _adopt(self, trial: FrozenTrial) -> Job | None:
        """Take over a trial whose process is gone: tell its result if it has one, else run or resume its job."""
        try:
            self._lock(trial.number)
        except Timeout:
            return None
        overrides = trial.user_attrs.get(_OVERRIDES)
        if overrides is None:
            self.study.tell(trial.number, state=TrialState.FAIL)
            self._unlock(trial.number)
            return None
        secrets = {masked_override(override): override for override in self.space.fixed}
        job = self._job(trial.number, [secrets.get(override, override) for override in overrides])
        try:
            report = read_report(job.directory)
        except ConfigError:
            return job
        adopt(job, report)
        if job.plan == "skip":
            self.tell(job)
            return None
        return job

    def _environment(self, number: int) -> dict[str, str]:
        if not _prunes(self.search, self.settings):
            return {}
        return {"STROBE_TRIAL": f"{number}", "STROBE_STUDY": str(self.settings.directory)}

    def _values(self, job: Job) -> list[float] | None:
        """The objectives of a completed job; None where one is missing or not finite."""
        if not self.search.objectives:
            values: list[Any] = [job.objective]
        else:
            report = read_report(job.directory)
            known = {**report["timing"], **report["metrics"], "parameters": report["parameters"]}
            values = [known.get(name) for name in self.search.objectives]
        if any(not isinstance(value, int | float) or not math.isfinite(value) for value in values):
            return None
        return [float(value) for value in values]

    def _lock(self, number: int) -> None:
        if number in self._locks:
            raise Timeout(str(number))
        locks = self.settings.directory / ".locks"
        locks.mkdir(exist_ok=True)
        lock = FileLock(locks / f"{number}.lock")
        lock.acquire(timeout=0)
        self._locks[number] = lock

    def _unlock(self, number: int) -> None:
        if (lock := self._locks.pop(number, None)) is not None:
            lock.release()


def _prunes(search: SearchSettings, settings: Settings) -> bool:
    """Whether trials can be given up early: what the study is about has to be one metric, known after each epoch."""
    metrics = list(search.objectives) or [settings.objective]
    known = METRICS.keys() - {"test/loss", "test/acc"}
    return search.pruner != "none" and len(metrics) == 1 and metrics[0] == settings.objective and metrics[0] in known


def _about(search: SearchSettings, space: Space, planner: Planner, settings: Settings) -> dict[str, dict[str, Any]]:
    """What a study is about: its trials can't be compared with those of another objective, setting or space."""
    modes = [METRICS.get(name, "min") for name in search.objectives] or [settings.mode]  # parameters, seconds: the less
    names = list(search.objectives) or [settings.objective]
    fixed = identity(written(planner.compose(space.fixed)))
    return {
        "objective": dict(zip(names, modes, strict=True)),
        "space": {key: str(distribution) for key, distribution in space.distributions.items()},
        # Of a group that is searched, each trial has its own settings.
        "settings": {key: value for key, value in fixed.items() if key != "objective" and not _is_searched(key, space)},
    }


def _is_searched(key: str, space: Space) -> bool:
    return any(key == name or key.startswith(f"{name.replace('/', '.')}.") for name in space.distributions)


def _open_or_create(search: SearchSettings, about: dict[str, dict[str, Any]], settings: Settings) -> optuna.Study:
    storage = study_storage(settings.directory)
    if NAME in {summary.study_name for summary in optuna.get_all_study_summaries(storage, include_best_trial=False)}:
        _require_same(optuna.load_study(study_name=NAME, storage=storage).user_attrs, about, settings.directory)
    modes = about["objective"].values()
    directions: list[Literal["minimize", "maximize"]] = ["maximize" if mode == "max" else "minimize" for mode in modes]
    study = optuna.create_study(
        study_name=NAME,
        storage=storage,
        pruner=make_pruner(search.pruner),
        directions=directions,
        load_if_exists=True,
    )
    for name, value in about.items():
        study.set_user_attr(name, value)
    study.set_user_attr("pruner", search.pruner)
    return study


def _require_same(previous: Mapping[str, Any], about: dict[str, dict[str, Any]], directory: Path) -> None:
    """Refuse to go on with a study that is about something else.

    Raises:
        ConfigError: If it is.
    """
    differing = []
    for name, now in about.items():
        before = previous.get(name)
        if not isinstance(before, dict) or before == now:
            continue
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        told = ", ".join(f"{key}: {before.get(key)} there, {now.get(key)} here" for key in keys)
        differing.append(f"{_OTHER[name]} ({told})")
    if differing:
        raise ConfigError(
            f"{directory} holds a search with {' and '.join(differing)}: its trials can't be compared "
            "with these. Choose another sweep.name, or the settings it had"
        )


def _sampler(search: SearchSettings, space: Space, number: int) -> optuna.samplers.BaseSampler:
    """For one trial: its draws follow from the search's seed and its number, whichever process makes them, and when."""
    seed = (search.seed * 1_000_003 + number) % 2**32
    match search.sampler:
        case "random":
            return optuna.samplers.RandomSampler(seed=seed)
        case "grid":
            return optuna.samplers.GridSampler(space.grid(), seed=search.seed)
        case "nsgaii":
            return optuna.samplers.NSGAIISampler(seed=seed)
        case "cmaes":
            # What it can't handle, choices and conditions, is drawn at random.
            return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)
        case "qmc":
            return HaltonSampler(space.distributions, seed=search.seed)
        case _:
            # Trials run side by side: those under way count as mediocre, so that not all try the same place.
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
