"""From the overrides of a sweep to its jobs: composed, checked, named, and matched with what is already there."""

import itertools
import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast

from strobe.config.compose import settled
from strobe.config.strangers import Allowed
from strobe.config.tasks import idle_overrides, undirected
from strobe.config.values import looked_through
from strobe.errors import ConfigError, require
from strobe.machine.secrets import masked_override, to_give_again
from strobe.machine.text import printable
from strobe.record.find import has_checkpoint
from strobe.record.identity import config_hash
from strobe.record.layout import FAILED, REPORT, SUCCEEDED
from strobe.record.lock import being_trained, is_held
from strobe.record.report import Report, failure_line, read_report
from strobe.sweeps.engine import Engine
from strobe.sweeps.handed import Handed
from strobe.sweeps.job import Demand, Job
from strobe.sweeps.planning import Planner

log = logging.getLogger(__name__)

Rerun = Literal["failed", "all"]

_FLAGS = {"--config-dir": "-cd", "--config-name": "-cn", "--config-path": "-cp"}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{6,}(e-?\d+)?")  # a search's draws; the exact value is in the config
_OF_A_REPORT: tuple[Literal["status", "objective", "error", "pid", "host"], ...] = (
    *("status", "objective", "error", "pid", "host"),
)  # what `adopt` looks at
_NAME_LIMIT = 120  # bytes; file systems take 255, and `.replaced` adds to it


class ElsewhereError(Exception):
    """Another process is training in the directory of a job; the message says which."""


def plan_jobs(
    planner: Planner,
    batch: Sequence[Sequence[str]],
    sweep_dir: Path,
    first: int,
    rerun: Rerun | None,
    problem: Callable[[Demand], str | None] = lambda demand: None,
) -> list[Job]:
    """The jobs of a grid, checked, each with what is to be done about it; of equal ones, the first.

    Args:
        planner: Composes the configs.
        batch: The overrides of each job.
        sweep_dir: Where jobs lie, and earlier ones may.
        first: Number of the first job.
        rerun: ``failed`` runs jobs again that failed before, ``all`` everything; None only what is not finished.
        problem: Why the sweep's engine can never run a job.

    Raises:
        ConfigError: If any job's config is wrong; lists all that is, and nothing has been started.
    """
    varying = varying_keys(batch)
    jobs: list[Job] = []
    wrong: dict[str, None] = {}
    known = existing_runs(sweep_dir)
    planned: set[str] = set()
    for number, overrides in enumerate(batch, start=first):
        with planner.lent(overrides) as cfg:
            values, lines = looked_through(cfg)
            asked = cfg if lines else values  # looked up in a tenth of the time; empty where one can't be resolved
            lines += [*idle_overrides(asked, overrides), *undirected(asked, overrides)]
        demand = Demand() if lines else Demand.of(values["trainer"])
        if (impossible := problem(demand)) is not None:
            lines.append(impossible)
        wrong |= dict.fromkeys(lines)
        if wrong:  # nothing will be started: the others are only looked through
            continue
        shown = [masked_override(override) for override in overrides if _key(override) in varying]
        directory = sweep_dir / job_name(number, shown)
        job = Job(number, list(overrides), shown, directory, config_hash(settled(values)), demand)
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
    """Config hash -> directory and report of the runs that lie in a sweep's directory.

    Of thousands of reports no more is kept than tells what is to become of a job.
    """
    return {
        report["config_hash"]: (path, cast(Report, {key: report[key] for key in _OF_A_REPORT if key in report}))
        for path, report in runs_in(sweep_dir)
        if "config_hash" in report
    }


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
    if is_held(job.directory):
        raise ElsewhereError(being_trained(None))
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
    return [*flags, *planner.hydra_overrides, *_placed(job)]


def config_of(job: Job, planner: Planner) -> Handed | None:
    """What a job makes its config of where this process starts it; None where it has to ask Hydra."""
    return planner.handed(_placed(job)) if job.plan == "run" else None


def _placed(job: Job) -> list[str]:
    """The overrides of a job, with those that make it a single run in its directory."""
    directory = str(job.directory).replace("'", r"\'")
    return [*job.overrides, f"hydra.run.dir='{directory}'", "hydra.mode=RUN"]


def adopt(job: Job, report: Report, rerun: Rerun | None = None) -> None:
    """Decide about a job that has run before: skip what has ended, resume from a checkpoint, else begin anew.

    One that another process is training is left to that for as long as it is seen to go on.
    """
    status = report["status"]
    job.plan, job.status = "run", "waiting"
    if status == "running":
        job.plan, job.status, job.error = "watch", status, being_trained(report)
        return
    if has_ended(report, rerun):
        job.plan, job.status, job.objective = "skip", status, report.get("objective")
        job.error = failure_line(report) or None
    elif status not in (*SUCCEEDED, *FAILED) and rerun != "all" and has_checkpoint(job.directory):
        job.plan = "resume"


def rejoin(job: Job, engine: Engine, rerun: Rerun | None) -> None:
    """Leave a job as it is that an earlier driver has started and that is still under way there.

    One that has ended since it was planned is looked at again: it may have been under way until then.
    """
    if job.plan == "skip":
        return
    if engine.find(job):
        job.plan, job.status, job.error = "rejoin", "waiting", None
    elif job.directory.exists():
        with suppress(ConfigError):
            if (report := read_report(job.directory)).get("config_hash") == job.hash:
                job.error = None
                adopt(job, report, rerun)


def has_ended(report: Report, rerun: Rerun | None) -> bool:
    """Whether a run has ended, and is not to be run again."""
    again = rerun == "all" or (rerun == "failed" and report["status"] in FAILED)
    return report["status"] in (*SUCCEEDED, *FAILED) and not again


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
