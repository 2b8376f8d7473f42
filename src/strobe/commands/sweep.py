"""What Strobe's Hydra plugins do for `-m`: a grid or a search from Hydra's config, without torch until a job runs."""

import inspect
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from strobe.commands.train import main as train
from strobe.config.overrides import idle_additions
from strobe.config.rules import RULES
from strobe.config.values import objective
from strobe.errors import ConfigError, require
from strobe.machine.transient import doing
from strobe.record.layout import STORAGE_VARIABLE

if TYPE_CHECKING:
    from strobe.sweeps.drive import Settings
    from strobe.sweeps.engine import Engine
    from strobe.sweeps.handed import Handed
    from strobe.sweeps.job import Job
    from strobe.sweeps.planning import Planner

_REPORT = "strobe.report.write"


@dataclass(frozen=True)
class Place:
    """Where a sweep's jobs run, as its launcher says.

    Attributes:
        kind: Of engine.
        settings: Its arguments.
    """

    kind: Literal["local", "slurm", "ray"]
    settings: Mapping[str, Any]


def grid(
    config: DictConfig, loader: ConfigLoader, batch: Sequence[Sequence[str]], first: int, place: Place
) -> "list[Job]":
    """Run the jobs of a grid and sum up; with ``validate=only``, say what they amount to.

    Args:
        config: Of the sweep.
        loader: Hydra's.
        batch: The overrides of each job.
        first: Number of the first.
        place: Where its jobs run.

    Raises:
        RunError: If a job did not complete, or the sweep was stopped.
    """
    with doing("preparing the sweep"):
        from strobe.sweeps.grid import run_grid  # a table on the terminal and more that a single run has no use for

    planner = _planner(config, loader)
    if config.validate == "only":
        from strobe.config.plan import plan  # torch: only where targets and signatures are asked for
        from strobe.run.rehearsal import Rehearsal

        print(plan(planner.each(batch), Rehearsal()))
        return []
    settings = _settings(config, place, planner)
    with settings.engine:
        jobs = run_grid(batch, first, planner, settings)
    _summarize(jobs, settings)
    return jobs


def search(
    config: DictConfig, loader: ConfigLoader, space: Sequence[str], how: Mapping[str, Any], place: Place
) -> None:
    """Run a search and sum up; with ``validate=only``, say what its first trial amounts to.

    Args:
        config: Of the sweep.
        loader: Hydra's.
        space: The overrides of the command.
        how: Fields of `strobe.sweeps.sampling.SearchSettings`.
        place: Where its jobs run.

    Raises:
        RunError: If a trial's job failed, or the search was stopped.
    """
    with doing("preparing the search"):
        from strobe.sweeps.sampling import SearchSettings  # optuna: only in a search
        from strobe.sweeps.search import first_config, run_search

    searching = SearchSettings(**how)
    if (database := searching.database()) is not None:
        os.environ[STORAGE_VARIABLE] = database.url  # for jobs, which inherit it, and the report: no file has passwords
    planner = _planner(config, loader)
    settings = _settings(config, place, planner)
    if config.validate == "only":
        from strobe.config.plan import plan  # as in `grid`
        from strobe.run.rehearsal import Rehearsal

        with settings.engine:
            first = first_config(space, searching, planner, settings)
        print(f"The first trial:\n{plan([first], Rehearsal())}")
        return
    with settings.engine:
        jobs, troubles = run_search(space, searching, planner, settings)
    _summarize(jobs, settings, troubles)


def run_job(
    arguments: Sequence[str],
    directory: str,
    environment: Mapping[str, str],
    cwd: str,
    handed: "Handed | None" = None,
) -> None:
    """Be the process of a job: ``python -m src.train <arguments>``, with its output in the job's directory.

    The arguments are those of `strobe.sweeps.engine.StartJob`.

    Raises:
        SystemExit: With the run's exit code.
    """
    from strobe.sweeps.worker import become_job  # torch; in a fork of the warm server that is done already

    become_job(Path(directory), environment, cwd)
    sys.argv[1:] = arguments
    sys.exit(train(None if handed is None else handed.config()))


def _planner(config: DictConfig, loader: ConfigLoader) -> "Planner":
    from strobe.sweeps.planning import Planner  # as in `grid`

    return Planner(loader, config.hydra.job.config_name, config.hydra.overrides.hydra)


def _settings(config: DictConfig, place: Place, planner: "Planner") -> "Settings":
    from strobe.sweeps.drive import Settings  # as in `grid`

    # Of the jobs' configs each is checked in full; these are looked at before there is one.
    of_the_sweep = ("on_failure", "job_timeout", "retries", "rerun")
    keys = ("objective", "monitor.metric", "monitor.mode", *(f"sweep.{key}" for key in of_the_sweep))
    values = {key: OmegaConf.select(config, key) for key in keys}
    wrong = [RULES[key].refusal(key, value) for key, value in values.items() if not RULES[key].holds(value)]
    require(wrong + idle_additions(config.hydra))
    sweep = config.sweep
    metric, mode = objective(config)
    directory = Path(str(config.hydra.sweep.dir)).resolve()
    return Settings(
        directory=directory,
        engine=_engine(place, config, directory, planner),
        on_failure=sweep.on_failure,
        job_timeout=None if sweep.job_timeout is None else float(sweep.job_timeout),
        retries=sweep.retries,
        rerun=sweep.rerun,
        objective=metric,
        mode=mode,
        meanwhile=_import_report,
    )


def _engine(place: Place, config: DictConfig, directory: Path, planner: "Planner") -> "Engine":
    """The engine of a sweep; each has packages of its own, which the others do without."""
    settings: dict[str, Any] = {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in place.settings.items()
    }
    match place.kind:
        case "local":
            from strobe.sweeps.engines.local import LocalEngine
            from strobe.sweeps.jobs import config_of
            from strobe.sweeps.slots import share_out

            return LocalEngine(share_out(config.trainer, **settings), run_job, lambda job: config_of(job, planner))
        case "slurm":
            try:
                from strobe.sweeps.engines.slurm.settings import slurm_engine
            except ModuleNotFoundError as error:
                raise ConfigError(f"hydra/launcher=slurm: {error}; pip install -e '.[slurm]'") from None
            return slurm_engine(directory, config.trainer, **settings)
        case "ray":
            from strobe.sweeps.engines.ray.engine import RayEngine

            known = inspect.signature(RayEngine).parameters
            require(f"hydra.launcher.{key}: hydra/launcher=ray has no such key" for key in settings if key not in known)
            return RayEngine(directory, run_job, **settings)


def _import_report() -> None:
    """Import beside the jobs, the first of which wait for torch, what their report is drawn with: it takes a second."""

    def imported() -> None:
        with suppress(Exception):  # said where it is needed
            import_module(_REPORT)

    threading.Thread(target=imported, name="import-report", daemon=True).start()


def _summarize(jobs: "list[Job]", settings: "Settings", troubles: Sequence[str] = ()) -> None:
    from strobe.sweeps.summarize import summarize  # as in `grid`

    summarize(jobs, settings, _report, troubles)


def _report(directory: Path) -> str:
    with doing("comparing the runs and drawing the report"):
        from strobe.report.write import write_report  # matplotlib: beside the jobs, unless there were none

        return write_report([directory], directory)
