"""What Strobe's Hydra plugins do for `-m`: a grid or a search from Hydra's config, without torch until a job runs."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from strobe.commands.train import main as train
from strobe.config.overrides import idle_additions
from strobe.config.rules import RULES
from strobe.config.values import objective
from strobe.errors import require

if TYPE_CHECKING:
    from strobe.sweeps.drive import Settings
    from strobe.sweeps.jobs import Job, Planner


def grid(
    config: DictConfig, loader: ConfigLoader, batch: Sequence[Sequence[str]], first: int, room: Mapping[str, Any]
) -> "list[Job]":
    """Run the jobs of a grid and sum up; with ``validate=only``, say what they amount to.

    Args:
        config: Of the sweep.
        loader: Hydra's.
        batch: The overrides of each job.
        first: Number of the first.
        room: Arguments of `strobe.sweeps.slots.share_out`.

    Raises:
        RunError: If a job did not complete, or the sweep was stopped.
    """
    from strobe.sweeps.grid import run_grid  # a table on the terminal and more that a single run has no use for

    planner = _planner(config, loader)
    if config.validate == "only":
        from strobe.config.plan import plan  # torch: only where targets and signatures are asked for

        print(plan([planner.compose(overrides) for overrides in batch]))
        return []
    settings = _settings(config, room)
    jobs = run_grid(batch, first, planner, settings)
    _summarize(jobs, settings)
    return jobs


def search(
    config: DictConfig, loader: ConfigLoader, space: Sequence[str], how: Mapping[str, Any], room: Mapping[str, Any]
) -> None:
    """Run a search and sum up.

    Args:
        config: Of the sweep.
        loader: Hydra's.
        space: The overrides of the command.
        how: Fields of `strobe.sweeps.sampling.SearchSettings`.
        room: Arguments of `strobe.sweeps.slots.share_out`.

    Raises:
        RunError: If a trial's job failed, or the search was stopped.
    """
    from strobe.sweeps.sampling import SearchSettings  # optuna: only in a search
    from strobe.sweeps.search import run_search

    searching = SearchSettings(**how)
    settings = _settings(config, room)
    jobs, troubles = run_search(space, searching, _planner(config, loader), settings)
    _summarize(jobs, settings, troubles)


def run_job(arguments: Sequence[str], directory: str, environment: Mapping[str, str], cwd: str) -> None:
    """Be the process of a job: ``python -m src.train <arguments>``, with its output in the job's directory.

    Raises:
        SystemExit: With the run's exit code.
    """
    from strobe.sweeps.worker import become_job  # torch; in a fork of the warm server that is done already

    become_job(Path(directory), environment, cwd)
    sys.argv[1:] = arguments
    sys.exit(train())


def _planner(config: DictConfig, loader: ConfigLoader) -> "Planner":
    from strobe.sweeps.jobs import Planner  # as in `grid`

    return Planner(loader, config.hydra.job.config_name, config.hydra.overrides.hydra)


def _settings(config: DictConfig, room: Mapping[str, Any]) -> "Settings":
    from strobe.sweeps.drive import Settings  # as in `grid`
    from strobe.sweeps.slots import share_out

    # Of the jobs' configs each is checked in full; these are looked at before there is one.
    keys = ("objective", "monitor.metric", "monitor.mode", "sweep.on_failure", "sweep.job_timeout", "sweep.rerun")
    values = {key: OmegaConf.select(config, key) for key in keys}
    wrong = [RULES[key].refusal(key, value) for key, value in values.items() if not RULES[key].holds(value)]
    require(wrong + idle_additions(config.hydra))
    sweep = config.sweep
    metric, mode = objective(config)
    return Settings(
        directory=Path(str(config.hydra.sweep.dir)).resolve(),
        slots=share_out(config.trainer, **room),
        on_failure=sweep.on_failure,
        job_timeout=None if sweep.job_timeout is None else float(sweep.job_timeout),
        rerun=sweep.rerun,
        objective=metric,
        mode=mode,
        start_job=run_job,
    )


def _summarize(jobs: "list[Job]", settings: "Settings", troubles: Sequence[str] = ()) -> None:
    from strobe.sweeps.summarize import summarize  # as in `grid`

    summarize(jobs, settings, _report, troubles)


def _report(directory: Path) -> str:
    from strobe.report.write import write_report  # matplotlib: once the jobs are done

    return write_report([directory], directory)
