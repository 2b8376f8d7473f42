"""From the overrides of a sweep to its jobs: composed, checked, named, and matched with what is already there."""

import itertools
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from strobe.config.compose import settled
from strobe.config.strangers import Allowed
from strobe.config.tasks import idle_overrides, undirected
from strobe.config.values import problems
from strobe.errors import ConfigError, require
from strobe.machine.secrets import masked_override, to_give_again
from strobe.machine.text import printable
from strobe.record.identity import config_hash
from strobe.record.layout import CHECKPOINTS, FAILED, REPORT, SUCCEEDED, Status
from strobe.record.report import Report, failure_line, read_report

log = logging.getLogger(__name__)

Rerun = Literal["failed", "all"]

# Overrides of a sweep's command that its jobs must not see: what made it a sweep, and where it lies.
_OF_THE_SWEEP = ("hydra.sweep", "hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.mode", "hydra.run.dir")
_FLAGS = {"--config-dir": "-cd", "--config-name": "-cn", "--config-path": "-cp"}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{6,}(e-?\d+)?")  # a search's draws; the exact value is in the config
_NAME_LIMIT = 120  # bytes; file systems take 255, and `.replaced` adds to it


@dataclass
class Job:
    """One run of a sweep.

    Attributes:
        number: Counts from 0.
        overrides: What is typed after ``python -m src.train``.
        varying: Those of them in which jobs differ.
        directory: Its run directory.
        hash: Of its config.
        plan: ``run`` it, ``resume`` it from its checkpoint, or ``skip`` it.
        status: As in its report; ``waiting`` and ``running`` before it has one.
        objective: Once it is known.
        error: What went wrong, if anything did.
        environment: Variables for its process.
        began: Whether this sweep has started a process for it.
    """

    number: int
    overrides: list[str]
    varying: list[str]
    directory: Path
    hash: str
    plan: Literal["run", "resume", "skip"] = "run"
    status: Status = "waiting"
    objective: float | None = None
    error: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    began: bool = False


class ElsewhereError(Exception):
    """Another process is training a job; the message says which."""


class Planner:
    """Composes the configs of jobs. Group choices are composed by Hydra and kept; values are laid over them.

    Hydra composes a config in 50 ms and more; most jobs of a sweep differ in values alone.

    Args:
        loader: Hydra's.
        config_name: Of the primary config.
        hydra_overrides: Those of the sweep's command that are Hydra's own.
    """

    def __init__(self, loader: ConfigLoader, config_name: str, hydra_overrides: Iterable[str]) -> None:
        self.parser = OverridesParser.create(config_loader=loader)
        self.hydra_overrides = [
            override for override in hydra_overrides if not override.lstrip("+~").startswith(_OF_THE_SWEEP)
        ]
        self._loader = loader
        self._config_name = config_name
        self._bases: dict[tuple[str, ...], DictConfig] = {}
        self._groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config that ``python -m src.train <overrides>`` would compose."""
        parsed = self.parser.parse_overrides(list(overrides))
        is_value = [self._sets_a_value(override) for override in parsed]
        choices = tuple(text for text, value in zip(overrides, is_value, strict=True) if not value)
        if choices not in self._bases:
            base = self._loader.load_configuration(
                config_name=self._config_name, overrides=[*self.hydra_overrides, *choices], run_mode=RunMode.RUN
            )
            keys: list[Any] = [key for key in base if key != "hydra"]
            self._bases[choices] = OmegaConf.masked_copy(base, keys)
        cfg = self._bases[choices].copy()
        OmegaConf.set_struct(cfg, True)
        for override, value in zip(parsed, is_value, strict=True):
            if value:
                added = override.is_force_add()
                OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True, force_add=added)
        return cfg

    def _sets_a_value(self, override: Override) -> bool:
        """Whether it is a plain ``key=value``, or ``++key=value``; what else there is, is Hydra's to compose."""
        other = override.is_delete() or override.is_add() or override.package is not None
        return not other and not self._is_group(override.key_or_group)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key))
        return self._groups[key]


def plan_jobs(
    planner: Planner, batch: Sequence[Sequence[str]], sweep_dir: Path, first: int, rerun: Rerun | None
) -> list[Job]:
    """The jobs of a grid, checked, each with what is to be done about it; of equal ones, the first.

    Args:
        planner: Composes the configs.
        batch: The overrides of each job.
        sweep_dir: Where jobs lie, and earlier ones may.
        first: Number of the first job.
        rerun: ``failed`` runs jobs again that failed before, ``all`` everything; None only what is not finished.

    Raises:
        ConfigError: If any job's config is wrong; lists all that is, and nothing has been started.
    """
    varying = varying_keys(batch)
    jobs: list[Job] = []
    wrong: dict[str, None] = {}
    known = existing_runs(sweep_dir)
    planned: set[str] = set()
    for number, overrides in enumerate(batch, start=first):
        cfg = planner.compose(overrides)
        for line in [*problems(cfg), *idle_overrides(cfg, overrides), *undirected(cfg, overrides)]:
            wrong[line] = None
        shown = [masked_override(override) for override in overrides if _key(override) in varying]
        job = Job(number, list(overrides), shown, sweep_dir / job_name(number, shown), config_hash(settled(cfg)))
        if job.hash in planned:  # the same experiment twice is one result, not two
            continue
        planned.add(job.hash)
        if job.hash in known:
            job.directory, report = known[job.hash]
            adopt(job, report, rerun)
        jobs.append(job)
    require(wrong)
    return jobs


def existing_runs(sweep_dir: Path) -> dict[str, tuple[Path, Report]]:
    """Config hash -> directory and report of the runs that lie in a sweep's directory."""
    return {report["config_hash"]: (path, report) for path, report in runs_in(sweep_dir) if "config_hash" in report}


def runs_in(sweep_dir: Path) -> Iterator[tuple[Path, Report]]:
    """Directory and report of the runs that lie in a sweep's directory; damaged ones are passed over with a notice."""
    for path in sorted(sweep_dir.glob(f"*/{REPORT}")):
        try:
            yield path.parent, read_report(path.parent)
        except ConfigError as error:
            log.warning("Passed over: %s", printable(str(error)))


def varying_keys(batch: Sequence[Sequence[str]]) -> set[str]:
    """The keys to which not all jobs give the same value."""
    values: dict[str, set[str]] = {}
    for overrides in batch:
        for override in overrides:
            values.setdefault(_key(override), set()).add(override)
    return {key for key, given in values.items() if len(given) > 1}


def job_name(number: int, varying: Iterable[str]) -> str:
    """A directory name a person can read: ``003_optimizer.lr=0.01,seed=2``."""
    text = _LONG_NUMBER.sub(lambda number: f"{float(number[0]):.4g}", ",".join(varying))
    safe = re.sub(r"[^\w.,=+\-\[\]]+", "_", text)
    name = f"{number:03d}_{safe}".encode()[:_NAME_LIMIT].decode(errors="ignore")
    return name.rstrip("_,")


def command_flags(arguments: Sequence[str]) -> list[str]:
    """The flags of a command line that say where configs are; its jobs need them too."""
    flags: list[str] = []
    expected = None
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if expected is not None:
            flags.append(f"{expected}={argument}")
            expected = None
        elif name in _FLAGS or name in _FLAGS.values():
            full = name if name in _FLAGS else next(long for long, short in _FLAGS.items() if short == name)
            if separator:
                flags.append(f"{full}={value}")
            else:
                expected = full
    return flags


def prepare_directory(job: Job) -> None:
    """Make room for a job that starts from the beginning: what lies there is kept, out of the way.

    Raises:
        ElsewhereError: If another process trains in its directory.
        OSError: If there can be no directory.
    """
    with suppress(ConfigError):
        if (report := read_report(job.directory))["status"] == "running":
            raise ElsewhereError(being_trained(report))
    if job.plan == "run" and job.directory.exists():
        attic = job.directory.parent / ".replaced"
        attic.mkdir(exist_ok=True)
        free = (attic / f"{job.directory.name}~{count}" for count in itertools.count())
        shutil.move(job.directory, next(path for path in free if not path.exists()))
    job.directory.mkdir(parents=True, exist_ok=True)


def arguments_of(job: Job, planner: Planner, flags: Sequence[str]) -> list[str]:
    """The command line of a job, after ``python -m src.train``."""
    if job.plan == "resume":
        # Of a user without a key, each run is a stranger's, and its job is told what this command has named.
        named = sorted(Allowed.of((), job.overrides).packages)
        trust = [f"--trust={package}" for package in named]
        return [*flags, *trust, f"resume={job.directory}", *to_give_again(job.overrides)]
    directory = str(job.directory).replace("'", r"\'")
    return [*flags, *planner.hydra_overrides, *job.overrides, f"hydra.run.dir='{directory}'", "hydra.mode=RUN"]


def adopt(job: Job, report: Report, rerun: Rerun | None = None) -> None:
    """Decide about a job that has run before: skip what has ended, resume from a checkpoint, else begin anew.

    One that another process is training is left to that.
    """
    status = report["status"]
    if status == "running":
        job.plan, job.status, job.error = "skip", status, being_trained(report)
        return
    if has_ended(report, rerun):
        job.plan, job.status, job.objective = "skip", status, report.get("objective")
        job.error = failure_line(report) or None
    elif status not in (*SUCCEEDED, *FAILED) and rerun != "all" and any((job.directory / CHECKPOINTS).glob("*.ckpt")):
        job.plan = "resume"


def has_ended(report: Report, rerun: Rerun | None) -> bool:
    """Whether a run has ended, and is not to be run again."""
    again = rerun == "all" or (rerun == "failed" and report["status"] in FAILED)
    return report["status"] in (*SUCCEEDED, *FAILED) and not again


def look_again(job: Job) -> None:
    """Take down how a job ended that another process was training, if it has by now."""
    with suppress(ConfigError):
        report = read_report(job.directory)
        if report["status"] != "running":
            job.status, job.objective = report["status"], report.get("objective")
            job.error = failure_line(report) or None


def being_trained(report: Report) -> str:
    """Who is training a run, in words."""
    return f"is being trained by process {report.get('pid')} on {report.get('host')}"


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
