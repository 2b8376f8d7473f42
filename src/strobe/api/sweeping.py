"""`strobe.sweep`: many runs, as the command `strobe train -m` runs them, in processes of their own."""

import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import IO, Any

from strobe.api.composing import typed_of
from strobe.api.listing import row_of
from strobe.api.run import Run
from strobe.api.table import Table
from strobe.commands.arguments import flag_values
from strobe.errors import ConfigError, InterruptedRunError, PreemptedError, RunError
from strobe.record.find import OUTPUTS
from strobe.record.layout import FAILED
from strobe.report.listing import listed

_NAMED = re.compile(r"\+*(sweep\.name|hydra\.sweep\.dir)=")
_PATIENCE_S = 60.0  # for a sweep that was told to stop


@dataclass(frozen=True)
class Sweep:
    """A sweep that has ended: all of it is read from its directory when it is asked for.

    Attributes:
        directory: Of the sweep; each job has a directory in it.
    """

    directory: Path

    @property
    def runs(self) -> list[Run]:
        """Its runs, by the number of their job."""
        return [Run(run["directory"]) for run in self._rows]

    @property
    def table(self) -> Table:
        """A row for each run: its directory, status, each setting that was swept or typed, metric and value."""
        rows = []
        for run in self._rows:
            typed = [text.lstrip("+").partition("=")[::2] for text in run["overrides"] or []]
            settings = {key: value for key, value in typed if key != "sweep.name"}  # the same in all
            value = {str(run["metric"]): run["value"]} if run["metric"] else {}
            rows.append({"job": Path(run["directory"]).name, "status": run["status"], **settings, **value})
        return Table(rows)

    @property
    def best(self) -> Run | None:
        """The run with the best value; None where no run has one."""
        scored = [run for run in self._rows if run["value"] is not None]
        if not scored:
            return None
        sign = -1 if scored[0]["mode"] == "min" else 1
        return Run(max(scored, key=lambda run: sign * run["value"])["directory"])

    @property
    def _rows(self) -> list[dict[str, Any]]:
        found = []
        for run in listed([self.directory]):
            best = run.report.get("best")
            mode = run.report.get("objective_mode") or (best["mode"] if best else "max")
            found.append({**row_of(run), "mode": mode})
        return sorted(found, key=lambda row: _number(row["directory"]))

    def __repr__(self) -> str:
        return f"Sweep({self.directory}, {len(self._rows)} runs)\n{self.table!r}"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<p>{escape(str(self.directory))}</p>{self.table._repr_html_()}"


def sweep(overrides: Sequence[str], config_dir: str | Path | None = None) -> Sweep:
    """Run `strobe train -m <overrides>`: a run for each combination of values, or a search.

    It runs in processes of its own, which find your classes in files, not those that a notebook defines. To interrupt
    it stops the sweep; the same call with the same `sweep.name=` finishes what is left.

    Args:
        overrides: As they are typed on the command line: `["optimizer.lr=1e-3,1e-2", "seed=1,2"]`.
        config_dir: A config directory of your own, as `--config-dir` names it.

    Returns:
        The sweep. If jobs failed, a warning says so, and `.table` tells which.

    Raises:
        ConfigError: If an override is wrong: nothing was trained.
        KeyboardInterrupt: If it was interrupted.
        RunError: If the sweep could not be run.

    Example:
        >>> sweep = strobe.sweep(["optimizer.lr=0.001,0.01", "trainer.max_epochs=1"])  # doctest: +SKIP
        >>> sweep.best.config.optimizer.lr  # doctest: +SKIP
        0.01
    """
    typed = typed_of(overrides)
    directory, named = _place(typed)
    flags = [] if config_dir is None else ["--config-dir", str(Path(config_dir).expanduser().resolve())]
    command = [sys.executable, "-m", "strobe", "train", "-m", *flags, *typed, *named]
    code, said = _run(command, _environment(config_dir or next(reversed(flag_values(typed, "--config-dir")), None)))
    if code == ConfigError.exit_code:
        raise ConfigError(said.strip() or "the sweep was refused")
    if code == InterruptedRunError.exit_code:
        raise KeyboardInterrupt(f"interrupted: the same call with sweep.name={directory.name} finishes what is left")
    if code == PreemptedError.exit_code:
        raise PreemptedError(f"the sweep was stopped; sweep.name={directory.name} finishes what is left")
    if not directory.is_dir():
        raise RunError(f"the sweep ended with code {code}: {said.strip() or 'it said nothing'}")
    done = Sweep(directory.absolute())
    if code:
        failed = sum(status in FAILED for status in done.table["status"]) if len(done.table) else 0
        warnings.warn(f"{failed} of {len(done.table)} jobs failed (code {code}): see .table", stacklevel=2)
    return done


def _place(typed: Sequence[str]) -> tuple[Path, list[str]]:
    """The directory of a sweep, and what has to be typed for it to be that."""
    given = {}
    for text in typed:
        if (found := _NAMED.match(text)) is not None:
            given[found[1]] = text.partition("=")[2].strip("'\"")
    if "hydra.sweep.dir" in given:
        return Path(given["hydra.sweep.dir"]), []
    name = given.get("sweep.name")
    if name is None:
        name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")  # as conf/sweep/default.yaml has it
        return OUTPUTS / "sweeps" / name, [f"sweep.name={name}"]
    return OUTPUTS / "sweeps" / name, []


def _environment(config_dir: str | Path | None) -> dict[str, str]:
    """That of the sweep's processes, which find what is beside a config directory."""
    project = [] if config_dir is None else [str(Path(config_dir).expanduser().resolve().parent)]
    path = [*filter(None, [os.environ.get("PYTHONPATH")]), *project]
    return {**os.environ, "PYTHONUNBUFFERED": "1", **({"PYTHONPATH": os.pathsep.join(path)} if path else {})}


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command, and print what it prints; returns its exit code, and what it said of errors."""
    # A session of its own: what interrupts this process is passed on once, and not by the terminal too.
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    with process, _ended(process):
        reader = threading.Thread(target=_keep, args=(process.stderr, said), daemon=True)
        reader.start()
        interruptions = 0
        while True:
            try:
                for line in process.stdout:
                    print(line, end="", flush=True)
                code = process.wait()
                reader.join()
                break
            except KeyboardInterrupt:
                interruptions += 1
                process.send_signal(signal.SIGINT)
        if interruptions:
            code = InterruptedRunError.exit_code
        elif code != ConfigError.exit_code:
            print("".join(said), end="", file=sys.stderr, flush=True)
    return code, "".join(said)


def _keep(stream: IO[str], lines: list[str]) -> None:
    lines.extend(stream)


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> Iterator[None]:
    """See to it that no sweep outlives the block."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
            process.kill()


def _number(directory: str) -> tuple[int, str]:
    name = Path(directory).name
    return (int(name) if name.isdigit() else sys.maxsize), directory
