"""Many short runs, sweeps and searches that are killed, stopped, starved of disk and fed damaged files, for minutes.

    python -m tests.soak --runs 300 --minutes 10 --seed 1

Afterwards each is complete and equal, digit for digit, to one that nothing happened to, or says truthfully why not;
and nothing is left: no process, no temporary file, no report that is not JSON. Exit code 0 if so. A soak that found
something says with which seed to repeat it.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import ROOT, TEST_CONF
from tests.crash import Fault, How, run
from tests.same_runs import differences
from tests.tiny import write_tiny

MARK = "STROBE_SOAK"  # in the environment of every process of a soak
SINGLE: tuple[tuple[str, ...], ...] = (
    ("model=mlp", "model.dropout=0.3", "model.hidden=[16]"),
    ("optimizer=sgd", "scheduler=onecycle", "trainer.val_check_interval=0.5"),
    ("logger=csv", "checkpoint.keep=2", "checkpoint.every_n_steps=5", "trainer.accumulate_grad_batches=2"),
    ("trainer.max_steps=30", "scheduler=cosine", "trainer.precision=bf16-mixed"),
    ("data.loader=torch", "monitor.metric=val/loss", "monitor.mode=min"),
)
FAULTS: tuple[How | str, ...] = ("none", "before", "after", "full", "lasting", "term", "hup", "clock", "corrupt")
GRID = ("seed=1,2", "optimizer.lr=0.01,0.001")
SEARCH = (  # whose draws don't depend on the order in which trials end
    *("sweep=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler=random", "hydra.sweeper.pruner=none"),
    "optimizer.lr=tag(log,interval(1e-3,1e-1))",
)
STOPS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class SoakError(AssertionError):
    """Something was lost, wrong, or left over."""


class Soak:
    """A home for the runs, and what they are compared with."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self._undisturbed: dict[str, Path] = {}
        write_tiny(home / "data")
        self._common = [
            *(f"--config-dir={TEST_CONF}", "data=tiny", f"data.root={home / 'data'}", "trainer=cpu"),
            *("trainer.max_epochs=2", "trainer.enable_progress_bar=false"),
        ]

    def prepare(self) -> None:
        """Train what the others are compared with."""
        for number, settings in enumerate(SINGLE):
            code, points = self._single(settings, self.home / "undisturbed" / f"single{number}")
            require(code == 0, f"undisturbed {settings}")
            self.counts[f"points of {number}"] = len(points)
        for name, arguments in (("grid", GRID), ("search", SEARCH)):
            code = self._driver(name, arguments, self.home / "undisturbed").wait(300)
            require(code == 0, f"undisturbed {name}")

    def single(self, number: int) -> None:
        """One run with a fault at some point, resumed until it is complete."""
        draw = random.Random(f"{self.seed} {number}")
        which, kind = draw.randrange(len(SINGLE)), draw.choice(FAULTS)
        name = f"run {number} ({kind}, settings {which})"
        directory = self.home / "runs" / f"{number}"
        point = draw.randrange(self.counts[f"points of {which}"])
        fault = None if kind == "none" else _fault(kind, point)
        code, _ = self._single(SINGLE[which], directory, fault)
        self.counts[kind] += 1
        if kind == "corrupt" and _status(directory) != "completed":
            _corrupt(directory, draw)
        require_json(directory)
        for _ in range(3):
            if _status(directory) == "completed":
                break
            if (directory / "report.json").exists():
                code, _ = self._run([f"resume={directory}"], directory)
            else:
                code, _ = self._single(SINGLE[which], directory)
        require(_status(directory) == "completed", f"{name} ended with {code}: {self._printed(directory)}")
        require_equal(self.home / "undisturbed" / f"single{which}", directory, name)

    def several(self, number: int) -> None:
        """A sweep or a search whose driver or jobs are stopped, typed again until it is complete."""
        draw = random.Random(f"{self.seed} {number} several")
        name, arguments = draw.choice((("grid", GRID), ("search", SEARCH)))
        home = self.home / "sweeps" / f"{number}"
        for _ in range(draw.choice((1, 1, 2))):
            process = self._driver(name, arguments, home)
            time.sleep(draw.uniform(1, 8))
            if draw.random() < 0.5:
                how = draw.choice(STOPS)
                process.send_signal(how)
                self.counts[f"driver {how.name}"] += 1
            else:
                victims = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
                if victims:
                    _kill(draw.choice(victims))
                    self.counts["job SIGKILL"] += 1
            process.wait(300)
        rerun = ["sweep.rerun=failed"]  # of jobs that were killed
        codes = [self._driver(name, [*arguments, *rerun], home).wait(300) for _ in range(2)]
        require(codes[-1] == 0, f"{name} {number} ended with {codes}: {(home / 'out.txt').read_text()[-2000:]}")
        for path in home.rglob("report.json"):
            require_json(path.parent)
        lines = differences(self.home / "undisturbed" / "outputs" / "sweeps" / name, home / "outputs" / "sweeps" / name)
        lines = [line for line in lines if ".replaced" not in line]
        require(not lines, f"{name} {number}: {lines}")
        self.counts[name] += 1

    def _single(self, settings: Sequence[str], directory: Path, fault: Fault | None = None) -> tuple[int, list[str]]:
        return self._run([*self._common, *settings, f"hydra.run.dir={directory}"], directory, fault)

    def _run(self, arguments: Sequence[str], directory: Path, fault: Fault | None = None) -> tuple[int, list[str]]:
        directory.parent.mkdir(parents=True, exist_ok=True)
        return run(arguments, directory, directory.with_suffix(".txt"), fault, cwd=self.home)

    def _driver(self, name: str, arguments: Sequence[str], home: Path) -> subprocess.Popen[bytes]:
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "src.train", "-m", *self._common, "logger=none", f"sweep.name={name}"]
        with (home / "out.txt").open("ab") as output:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
            return subprocess.Popen(
                [*command, *arguments], cwd=home, stdout=output, stderr=output, env=environment, start_new_session=True
            )

    def _printed(self, directory: Path) -> str:
        return directory.with_suffix(".txt").read_text(errors="replace")[-3000:]


def require(holds: bool, otherwise: str) -> None:
    """Raise a `SoakError` where something does not hold."""
    if not holds:
        raise SoakError(otherwise)


def require_json(directory: Path) -> None:
    """A report is valid JSON, or is not there."""
    path = directory / "report.json"
    if path.exists():
        json.loads(path.read_text())


def require_equal(whole: Path, directory: Path, name: str) -> None:
    """Both hold the same run, and no temporary file."""
    left = list(directory.rglob(".*.tmp*"))
    require(not left, f"{name} left {left}")
    lines = differences(whole, directory)
    require(not lines, f"{name}: {lines}")


def _fault(kind: str, point: int) -> Fault:
    hows: dict[str, tuple[How, bool]] = {"lasting": ("full", True), "corrupt": ("after", False)}
    how, lasting = hows.get(kind, (kind, False))  # type: ignore[arg-type]
    return Fault(point, how, lasting)


def _corrupt(directory: Path, draw: random.Random) -> None:
    """Flip a byte of the newest checkpoint, if an older one is there to fall back to."""
    paths = sorted((directory / "checkpoints").glob("*.ckpt"))
    if len(paths) < 2:
        return
    path = directory / "checkpoints" / "last.ckpt"
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _status(directory: Path) -> Any:
    path = directory / "report.json"
    return json.loads(path.read_text())["status"] if path.exists() else None


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.Error):
        process.kill()


def orphans() -> list[str]:
    """Processes of this soak that are still there, without this one's own."""
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.environ().get(MARK) == os.environ[MARK]:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
        except psutil.Error:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="single runs at most")
    parser.add_argument("--minutes", type=float, default=10, help="at most")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    os.environ |= {MARK: f"{os.getpid()}", "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        soak = Soak(Path(home), options.seed)
        soak.prepare()

        def until_the_end(task: Callable[[int], None], numbers: range) -> int:
            done = 0
            for number in numbers:
                if time.monotonic() - began > 60 * options.minutes:
                    break
                try:
                    task(number)
                except (SoakError, ValueError, AssertionError, subprocess.TimeoutExpired) as error:
                    wrong.append(str(error))
                    print(f"WRONG: {error}", flush=True)
                done += 1
            return done

        with ThreadPoolExecutor(2) as pool:  # one of single runs, one of sweeps
            singles = pool.submit(until_the_end, soak.single, range(options.runs))
            several = pool.submit(until_the_end, soak.several, range(max(1, options.runs // 10)))
        minutes = (time.monotonic() - began) / 60
        kinds = {key: count for key, count in soak.counts.items() if not key.startswith("points")}
        print(f"{singles.result()} runs, {several.result()} sweeps and searches in {minutes:.1f} minutes: {kinds}")
    deadline = time.monotonic() + 60
    while orphans() and time.monotonic() < deadline:  # a warm server that is importing torch sees late that it is alone
        time.sleep(0.2)
    wrong += [f"left running: {line}" for line in orphans()]
    print("\n".join(wrong) if wrong else "nothing lost, nothing wrong, nothing left")
    if wrong:
        print(f"repeat it with --seed {options.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
