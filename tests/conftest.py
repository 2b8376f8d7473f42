import os

os.environ["OMP_NUM_THREADS"] = "1"  # several workers share the cores; set before torch is imported

import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from strobe.commands import train as train_command
from strobe.config.compose import CONF
from strobe.machine.secrets import forget_all
from strobe.record.signature import user_key
from tests.tiny import write_tiny

# The same examples on every machine; `HYPOTHESIS_PROFILE=free` draws new ones.
# How long an example takes is the machine's affair.
_PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, **_PATIENT)
hypothesis.settings.register_profile("free", **_PATIENT)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

ROOT = Path(__file__).resolve().parent.parent
TEST_CONF = ROOT / "tests" / "conf"

HANGS_S = 900
"""No phase of a test takes so long, on a busy machine too: what does is ended and named, and the others are run."""

Compose = Callable[..., DictConfig]
Train = Callable[..., Path]
Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Without pytest-xdist, too, its marker is one; and Ctrl-C means something, to the processes of tests too."""
    with suppress(ValueError):  # not the main thread
        # A shell's background job is begun with SIGINT ignored, which its children inherit, and Python then keeps.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "xdist_group(name): run by one process of the tests, under --dist loadgroup")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def no_longer_than(seconds: int) -> None:
    """Have the test fail if this phase of it is not over in so many seconds; 0 is for ever.

    Whatever waits in the tests' own process is interrupted: for a process, a thread, a lock or a line of output.
    """

    def late(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"it hangs: not over after {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)


def _phase() -> Iterator[None]:
    no_longer_than(HANGS_S)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """No fixture hangs."""
    return (yield from _phase())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """No test does."""
    return (yield from _phase())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """Nor does what follows it."""
    return (yield from _phase())


@pytest.fixture(scope="session", autouse=True)
def _state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key that signs configs is made here, not in the home of whoever runs the tests."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    user_key()


@pytest.fixture(scope="session", autouse=True)
def _no_server_ahead() -> None:
    """A sweep that is typed within this process leaves no server behind that imports torch."""
    train_command.begin_server = lambda arguments: None


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that holds `tests.tiny.TinyDigits`."""
    root = tmp_path_factory.mktemp("data")
    write_tiny(root)
    return root


@pytest.fixture
def compose_config() -> Iterator[Compose]:
    """Compose the shipped config, with the test's own config directory on the search path."""

    def composed(*overrides: str) -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", overrides=[f"hydra.searchpath=[file://{TEST_CONF}]", *overrides])

    yield composed
    GlobalHydra.instance().clear()


@pytest.fixture
def hydra_here() -> Iterator[None]:
    """Let a command run in the tests' own process: nothing of Hydra's is there before it, or left after it.

    Its log handlers write to what the test has captured, which is closed when a later test logs a line.
    """
    root = logging.getLogger()
    level = root.level
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()
    root.level = level
    for handler in root.handlers[:]:
        if type(handler).__module__ != "_pytest.logging":  # which sees to its own
            root.removeHandler(handler)
            handler.close()


@pytest.fixture(autouse=True)
def _secrets() -> Iterator[None]:
    yield
    forget_all()


@pytest.fixture
def train_tiny(compose_config: Compose, tiny_root: Path, tmp_path: Path) -> Train:
    """Train on the tiny set in this process (importing torch anew takes seconds); returns the run directory."""
    from strobe.run.story import train

    count = iter(range(1000))

    def trained(*overrides: str, directory: Path | None = None) -> Path:
        directory = directory or tmp_path / f"run{next(count)}"
        defaults = ("data=tiny", f"data.root={tiny_root}", "trainer.max_epochs=2", "trainer.log_every_n_steps=5")
        train(compose_config(*defaults, "trainer=cpu", *overrides), directory, list(overrides))
        return directory

    return trained


@pytest.fixture
def train_own(compose_config: Compose, tmp_path: Path) -> Train:
    """Train a task of `tests.tasks.modules` on its data, in this process; returns the run directory."""
    from strobe.run.story import train

    count = iter(range(1000))

    def trained(task: str, *overrides: str, directory: Path | None = None) -> Path:
        directory = directory or tmp_path / f"run{next(count)}"
        named = "" if "." in task else "tests.tasks.modules."
        defaults = ("data=sums", f"task._target_={named}{task}", "trainer=cpu", "trainer.max_epochs=3")
        train(compose_config(*defaults, "trainer.log_every_n_steps=2", *overrides), directory, list(overrides))
        return directory

    return trained


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """286 rows of four numbers and their sum, of which 200 are trained on."""
    from tests.tasks.modules import examples

    path = tmp_path / "numbers.csv"
    x, y = examples(286, 0)
    lines = [",".join(map(str, [*row.tolist(), float(total)])) for row, total in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,c,d,y", *lines]) + "\n")
    return path


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run `python -m src.<entry> ...` as a person would, in a fresh directory; returns the finished process."""

    def run(entry: str, *arguments: str, timeout: float = 600, **env: str) -> subprocess.CompletedProcess[str]:
        cwd = tmp_path / "cwd"
        cwd.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", f"src.{entry}", *arguments],
            cwd=cwd,
            # With src, for an installed copy may be another checkout's.
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), **env},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def tiny_arguments(tiny_root: Path) -> list[str]:
    """What makes the real command train on the tiny set."""
    return [f"--config-dir={TEST_CONF}", "data=tiny", f"data.root={tiny_root}", "trainer.max_epochs=2"]


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session", autouse=True)
def _terminal_that_can_be_closed() -> None:
    """Under `nohup` every process of the tests would ignore what some of them are sent."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        assert signal.getsignal(number) == handler, "a run left a signal handler behind"
        signal.signal(number, handler)


def report(directory: Path) -> dict[str, Any]:
    """The report of a run directory."""
    loaded: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return loaded
