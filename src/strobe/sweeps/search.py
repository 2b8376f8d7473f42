"""A search by Optuna: trials as jobs, the study on disk beside them or in a database."""

from collections.abc import Sequence
from typing import Any

import optuna
from filelock import FileLock
from omegaconf import DictConfig

from strobe.config.tasks import declared_mode, idle_groups
from strobe.config.values import problems
from strobe.config.written import written
from strobe.errors import ConfigError, require
from strobe.machine.disk import disk_error
from strobe.machine.mounts import warning_about_locks
from strobe.record.database import Database, DatabaseError
from strobe.record.files import sweep_leftovers
from strobe.record.identity import identity
from strobe.record.layout import STUDY, SUCCEEDED, Mode
from strobe.sweeps.at_work import AtWork
from strobe.sweeps.display import Display
from strobe.sweeps.drive import Settings, StopSweepError, drive
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.planning import Planner
from strobe.sweeps.sampling import SearchSettings, most_trials, sampler_of
from strobe.sweeps.space import Space
from strobe.sweeps.studies import open_or_create
from strobe.sweeps.supply import ASK_LOCK, Supply
from strobe.sweeps.trials import Trials, prunes


def run_search(
    arguments: Sequence[str],
    search: SearchSettings,
    planner: Planner,
    settings: Settings,
) -> tuple[list[Job], list[str]]:
    """Search until the study has its trials; several processes may work on one directory.

    Args:
        arguments: The overrides of the command, search space included.
        search: How to search.
        planner: Composes the configs of its jobs.
        settings: Of the sweep.

    Returns:
        The jobs of the study's trials, those of other processes that are under way left out, with status and
        objective; and what could not be written down, in lines.

    Raises:
        ConfigError: If the space or a config is wrong, or the study is about something else.
        RunError: If a signal ended the search, or there can be no study.
    """
    space, about, _ = _checked(arguments, search, planner, settings)
    settings.engine.get_ready()
    at_work = AtWork(settings.directory)
    database = search.database()
    try:
        if database is not None:
            database.storage()  # before there is a directory: it may be wrong, or away
        settings.directory.mkdir(parents=True, exist_ok=True)
        with at_work.joined():
            with FileLock(settings.directory / ASK_LOCK):
                supply, mended = _open(search, space, about, planner, settings, at_work, database)
            return _search(supply, mended, settings)
    except DatabaseError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise disk_error(error, settings.directory / STUDY) from error
    finally:
        if database is not None:
            database.close()


def _open(
    search: SearchSettings,
    space: Space,
    about: dict[str, dict[str, Any]],
    planner: Planner,
    settings: Settings,
    at_work: AtWork,
    database: Database | None,
) -> tuple[Supply, list[str]]:
    """The study, as a supply of jobs, and what had to be mended."""
    if alone := at_work.is_alone():
        sweep_leftovers(settings.directory)
    opened, mended = open_or_create(settings.directory, about, search.pruner, alone=alone, database=database)
    if (warning := warning_about_locks(settings.directory)) is not None:
        mended.append(warning)
    with opened.reached():
        trials = Trials(opened, space, search, planner, settings)
        trials.make_those_of_runs()
        if (again := trials.to_reopen()) and alone:
            opened.reopen(settings.directory, again)
            opened, _ = open_or_create(settings.directory, about, search.pruner, alone=True, database=database)
            trials = Trials(opened, space, search, planner, settings)
        elif again and settings.rerun is not None:
            raise ConfigError(
                f"sweep.rerun={settings.rerun}: another process works on {settings.directory}, and trials can't be "
                "run again under it; wait for its end, or leave sweep.rerun out"
            )
        supply = Supply(trials)
        if taken := supply.take_ends():
            mended.append(f"{taken} result(s) that the search lacked, taken from the reports of its runs")
    return supply, mended


def _search(supply: Supply, mended: Sequence[str], settings: Settings) -> tuple[list[Job], list[str]]:
    search = supply.search
    total = most_trials(search, supply.space)
    with Display(total, mode=settings.mode, metric=settings.objective) as display:
        for line in mended:
            display.say(line)
        known = [job for job in supply.jobs.values() if job.plan == "skip"]
        failed = sum(job.status not in SUCCEEDED for job in known)
        hint = f" ({failed} of them failed: sweep.rerun=failed tries them again)" if failed else ""
        before = f"{len(known)} finished before{hint}"
        counted = "1 trial" if total == 1 else f"{total} trials"
        display.say(f"{counted} in {settings.directory}\n{before}; {search.sampler}")
        if search.pruner != "none" and not prunes(search, settings):
            display.say("No trial is ended early: what is searched for is known only at a trial's end")
        for job in known:
            display.started(job)
        supply.display = display
        try:
            drive(supply.next_job, supply.trials.planner, settings, display, supply.tell)
        except StopSweepError as error:
            display.say(f"Stopped, because {error} and sweep.on_failure=stop")
        finally:
            supply.release()
    return list(supply.jobs.values()), supply.troubles


def first_config(arguments: Sequence[str], search: SearchSettings, planner: Planner, settings: Settings) -> DictConfig:
    """The config of a search's first trial; nothing is begun. Arguments and errors are those of `run_search`."""
    return _checked(arguments, search, planner, settings)[2]


def _checked(
    arguments: Sequence[str], search: SearchSettings, planner: Planner, settings: Settings
) -> tuple[Space, dict[str, dict[str, Any]], DictConfig]:
    """The space, what the study is about, and the config of its first trial."""
    space = Space(planner.parser.parse_overrides(list(arguments)), search.conditions)
    if not space.distributions:
        raise ConfigError("nothing to search: give a space, as in optimizer.lr=tag(log,interval(1e-4,1e-1))")
    about = _about(search, space, planner, settings)
    first = planner.compose(_first_overrides(search, space, len(about["objective"])))
    impossible = settings.engine.problem(Demand.of(first.trainer))
    require([*problems(first), *([] if impossible is None else [impossible])])
    if settings.engine.detaches:
        raise ConfigError("hydra.launcher.detach=true: a search needs its trials' results; leave it out, or run a grid")
    return space, about, first


def _first_overrides(search: SearchSettings, space: Space, objectives: int) -> list[str]:
    """The command line of the first trial, which is looked at before there is anything on the disk."""
    scratch = optuna.create_study(sampler=sampler_of(search, space, 0), directions=["minimize"] * objectives)
    return [*space.fixed, *space.suggest(scratch.ask())]


def _about(search: SearchSettings, space: Space, planner: Planner, settings: Settings) -> dict[str, dict[str, Any]]:
    """What a study is about: its trials can't be compared with those of another objective, setting or space."""
    cfg = planner.compose(space.fixed)
    if settings.objective is None and not search.objectives:
        raise ConfigError("monitor.metric=null: a search needs to know what for: objective=<metric> objective_mode=max")
    modes = [_mode_of(name, cfg, settings) for name in search.objectives] or [settings.mode]
    names = list(search.objectives) or [str(settings.objective)]
    fixed = identity({**written(cfg), **dict.fromkeys(idle_groups(cfg))})
    return {
        "objective": dict(zip(names, modes, strict=True)),
        "space": {key: str(distribution) for key, distribution in space.distributions.items()},
        # Of a group that is searched, each trial has its own settings.
        "settings": {key: value for key, value in fixed.items() if key != "objective" and not _is_searched(key, space)},
    }


def _mode_of(name: str, cfg: DictConfig, settings: Settings) -> Mode:
    """Which way one of several objectives is better.

    Raises:
        ConfigError: If nothing says so.
    """
    if name == "parameters" or name.endswith("_s"):  # seconds
        return "min"
    mode = settings.mode if name == settings.objective else declared_mode(cfg, name)
    if mode is None:
        raise ConfigError(
            f"hydra.sweeper.objectives: nothing says which way {name!r} is better; the task could declare it, or make "
            f"it the run's own: objective={name} objective_mode=min"
        )
    return mode


def _is_searched(key: str, space: Space) -> bool:
    return any(key == name or key.startswith(f"{name.replace('/', '.')}.") for name in space.distributions)
