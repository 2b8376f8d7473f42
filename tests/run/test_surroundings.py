"""Secrets, terminals that close, and places that lack this or that."""

import logging
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from strobe.data.root import default_root
from strobe.errors import ConfigError, PreemptedError
from tests.conftest import ROOT, TEST_CONF, Command, Train, report
from tests.run.test_faults import stopping

HERE = "tests.run.test_surroundings"
TYPED, IN_THE_ENVIRONMENT = "sk-typed-4711", "sk-environment-4711"


class Tracker(CSVLogger):
    """Tells everybody what it has been given.

    Args:
        save_dir: The run directory.
        api_key: A secret.
        project: Another.
        fails: Whether to raise.
    """

    def __init__(self, *, save_dir: str, api_key: str, project: str | None = None, fails: bool = False) -> None:
        super().__init__(save_dir, name="tracker", version="")
        print("printed", api_key, project)
        print("printed", api_key, project, file=sys.stderr)
        logging.getLogger("strobe.x").warning("logged %s %s", api_key, project)
        if fails:
            raise ConnectionError(f"the server refuses {api_key!r} of {project!r}")


class StopOnce(Callback):
    """Stops a run in its fifth step, but not once more when it is resumed."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        marker = Path(trainer.default_root_dir) / "stopped"
        if trainer.global_step == 5 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGTERM)


STOP_ONCE = f"+callbacks.stop._target_={HERE}.StopOnce"


def holding(folder: Path, *secrets: str) -> list[str]:
    """Names and contents below a folder in which one of some texts occurs."""
    paths = list(folder.rglob("*"))
    found = [str(path) for path in paths for secret in secrets if secret in path.name]
    contents = {path: path.read_bytes() for path in paths if path.is_file()}
    return found + [str(path) for path, data in contents.items() for secret in secrets if secret.encode() in data]


def tracking(**settings: object) -> list[str]:
    given = {"save_dir": "null", "api_key": TYPED, "project": "'${oc.env:MY_PROJECT}'", **settings}
    return [f"+logger.t._target_={HERE}.Tracker", *(f"+logger.t.{key}={value}" for key, value in given.items())]


@pytest.fixture
def arguments(tiny_arguments: list[str]) -> list[str]:
    return [*tiny_arguments, "trainer.max_epochs=1", "trainer=cpu"]


@pytest.mark.parametrize("fails", [False, True])
def test_no_secret_reaches_a_file_or_the_terminal(
    command: Command, arguments: list[str], tmp_path: Path, fails: bool
) -> None:
    env = {"MY_PROJECT": IN_THE_ENVIRONMENT}
    done = command(
        "train", *arguments, *tracking(fails=fails), "note='${logger.t.project}'", "hydra.run.dir=run", **env
    )
    assert done.returncode == int(fails), done.stderr
    said = done.stdout + done.stderr
    assert "printed ***" in said
    assert "logged ***" in said
    assert TYPED not in said
    assert IN_THE_ENVIRONMENT not in said
    run = tmp_path / "cwd" / "run"
    assert holding(run, TYPED, IN_THE_ENVIRONMENT) == []
    for name in ("config.yaml", ".hydra/config.yaml"):
        assert "api_key: '***'" in (run / name).read_text()
        assert "project: ${oc.env:MY_PROJECT}" in (run / name).read_text()
        assert "note: ${logger.t.project}" in (run / name).read_text()
    assert "+logger.t.api_key=***" in report(run)["overrides"]
    assert "+logger.t.project='${oc.env:MY_PROJECT}'" in report(run)["overrides"]
    assert (run / "config.yaml").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_a_run_with_secrets_is_the_same_experiment_and_is_resumed_with_them(
    train_tiny: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PROJECT", IN_THE_ENVIRONMENT)
    plain = train_tiny("trainer.limit_train_batches=2")
    with pytest.raises(PreemptedError):
        train_tiny(
            "trainer.limit_train_batches=20", *tracking(), *stopping(signal.SIGTERM, step=5), directory=tmp_path / "a"
        )
    assert holding(tmp_path / "a", TYPED, IN_THE_ENVIRONMENT) == []
    run = train_tiny("trainer.limit_train_batches=2", *tracking())
    assert report(run)["config_hash"] == report(plain)["config_hash"]
    train_tiny("trainer.limit_train_batches=20", *tracking(), f"resume={tmp_path / 'a'}", directory=tmp_path / "a")
    assert report(tmp_path / "a")["status"] == "completed"
    assert holding(tmp_path / "a", TYPED, IN_THE_ENVIRONMENT) == []


@pytest.mark.slow
def test_a_sweep_keeps_its_secrets_and_its_jobs_get_them_again(
    command: Command, arguments: list[str], tmp_path: Path
) -> None:
    sweep = [
        "-m",
        *arguments,
        STOP_ONCE,
        *tracking(api_key=f"{TYPED},{TYPED}2"),
        "identity.ignore=[sweep,resume]",
        "hydra.sweep.dir=sweep",
    ]
    env = {"MY_PROJECT": IN_THE_ENVIRONMENT}
    stopped = command("train", *sweep, **env)
    folder = tmp_path / "cwd" / "sweep"
    assert {report(path.parent)["status"] for path in folder.rglob("report.json")} == {"preempted"}, stopped.stderr
    done = command("train", *sweep, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("0*"))) == 2
    for said in (stopped.stdout, stopped.stderr, done.stdout, done.stderr):
        assert TYPED not in said
    assert holding(folder, TYPED, IN_THE_ENVIRONMENT) == []


@pytest.mark.slow
def test_so_does_a_search(command: Command, arguments: list[str], tmp_path: Path) -> None:
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer.lr=interval(0.001,0.01)"]
    command_line = [
        "-m",
        *arguments,
        STOP_ONCE,
        *search,
        *tracking(),
        "identity.ignore=[sweep,resume]",
        "hydra.sweep.dir=sweep",
    ]
    env = {"MY_PROJECT": IN_THE_ENVIRONMENT}
    command("train", *command_line, **env)
    done = command("train", *command_line, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert holding(tmp_path / "cwd" / "sweep", TYPED, IN_THE_ENVIRONMENT) == []


def test_a_hangup_is_taken_as_a_preemption(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(PreemptedError, match="saved epoch 2, step 20") as caught:
        train_tiny(*stopping(signal.SIGHUP), directory=tmp_path / "run")
    assert caught.value.exit_code == 143
    assert report(tmp_path / "run")["status"] == "preempted"


def test_a_hangup_that_is_ignored_stays_so(train_tiny: Train) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert report(train_tiny(*stopping(signal.SIGHUP)))["status"] == "completed"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator["Terminal"]:
    """Starts a command in a terminal of its own, which can be closed."""
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


class Terminal:
    """A pseudo terminal with one command in it."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.master: int | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        script = (
            "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        command = [sys.executable, "-c", script, sys.executable, "-m", "src.train", *arguments]
        self.process = subprocess.Popen(command, cwd=self.cwd, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)

    def read_until(self, *paths: str) -> None:
        """Keep reading what the command prints until files are there."""
        assert self.master is not None
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not all(any(self.cwd.glob(path)) for path in paths):
            if select.select([self.master], [], [], 0.1)[0]:
                os.read(self.master, 65536)

    def close(self) -> None:
        if self.master is not None:
            os.close(self.master)
            self.master = None

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(300)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["cpu", "ddp_cpu"])
def test_a_run_whose_terminal_is_closed_saves_and_ends(
    terminal: Terminal, tiny_arguments: list[str], tmp_path: Path, trainer: str
) -> None:
    terminal.start(*tiny_arguments, f"trainer={trainer}", "trainer.max_epochs=100000", "hydra.run.dir=run")
    terminal.read_until("run/metrics.csv")
    terminal.close()
    assert terminal.exit_code() == 143
    assert report(tmp_path / "run")["status"] == "preempted"


@pytest.mark.slow
@pytest.mark.parametrize("search", [[], ["hydra/sweeper=optuna", "optimizer.lr=interval(0.001,0.01)"]])
def test_the_jobs_of_a_sweep_whose_terminal_is_closed_save_and_end(
    terminal: Terminal, tiny_arguments: list[str], tmp_path: Path, search: list[str]
) -> None:
    jobs = search or ["seed=1,2,3"]
    long = ["trainer.max_epochs=100000", "hydra.sweep.dir=sweep", "hydra.launcher.slots=2", "trainer=cpu"]
    terminal.start("-m", *tiny_arguments, *long, *jobs)
    terminal.read_until("sweep/000*/metrics.csv", "sweep/001*/metrics.csv")
    terminal.close()
    assert terminal.exit_code() == 143
    assert {report(path.parent)["status"] for path in (tmp_path / "sweep").rglob("report.json")} == {"preempted"}


@pytest.mark.slow
def test_a_run_and_a_sweep_complete_whoever_reads_them(arguments: list[str], tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for index, redirection in enumerate(["| head -1", "2>&1 | head -1", ">&- 2>&- <&-", "> /dev/full"]):
        for kind in ("run", "sweep"):
            place = f"{kind}{index}"
            more = ["-m", "seed=1,2", f"hydra.sweep.dir={place}"] if kind == "sweep" else [f"hydra.run.dir={place}"]
            script = f'set -o pipefail; "$@" {redirection}'
            command = ["bash", "-c", script, "bash", sys.executable, "-m", "src.train", *arguments, *more]
            done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (redirection, kind, done.stderr)
            expected = "can't write to the standard output: No space left on device\n" if "full" in redirection else ""
            assert done.stderr == expected
            reports = [report(path.parent) for path in (tmp_path / place).rglob("report.json")]
            assert [found["status"] for found in reports] == ["completed"] * (2 if kind == "sweep" else 1)


SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "interactive", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "localhost"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"HOME": "/proc"},
        {"HOME": "/nonexistent/place"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"PYTHONIOENCODING": "ascii"},
        {"TERM": "", "COLUMNS": "20"},
        {"TMPDIR": "/nonexistent/place"},
        SLURM,
    ],
    ids=lambda env: ",".join(env),
)
def test_a_run_needs_little_of_the_place_it_is_in(
    command: Command, arguments: list[str], tmp_path: Path, env: dict[str, str]
) -> None:
    client = tmp_path / "bin" / "srun"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    client.chmod(0o755)
    path = f"{client.parent}:{os.environ['PATH']}" if "SLURM_JOB_ID" in env else os.environ["PATH"]
    done = command("train", *arguments, "hydra.run.dir='höme'", "name='käse ±'", **env, PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    assert command("report", "höme", **env).returncode == 0


@pytest.mark.parametrize("typed", [b"hydra.run.dir='h\xff'", b"name='k\xff'", b"seed=\xff"])
def test_what_can_not_be_read_in_this_locale_is_refused(tmp_path: Path, typed: bytes) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "src.train", typed]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is no text in UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_home_at_all_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ConfigError, match="there is no such home directory"):
        default_root()


def test_what_a_person_named_does_not_steer_the_terminal(command: Command) -> None:
    names = ["\x1b[31mred", "\u202egnp.", "\x9b2J", "bell\a"]
    said = [
        command("evaluate", *names),
        command("evaluate", "x", f"--{names[0]}"),
        command("report", names[1]),
        command("train", f"model={names[0]}", f"name={names[1]}"),
        command("train", f"--config-dir={TEST_CONF}", f"data='{names[0]}'"),
        command("train", f"seed='{names[0]}'", f"monitor.metric='{names[2]}'"),
    ]
    for done in said:
        assert done.returncode == 2
        text = done.stdout + done.stderr
        assert "\\x" in text or "\\u202e" in text
        assert text.replace("\n", "").isprintable(), text
