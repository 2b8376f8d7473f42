"""Damaged run directories: a command that reads one gives the right result or says in a line what is wrong."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from strobe.commands.resumed import resumed_run
from strobe.errors import RunError
from strobe.record.report import read_report
from strobe.report.write import write_report
from strobe.run.evaluation import evaluate
from strobe.run.saved import saved_net
from tests.conftest import Train
from tests.run.test_train import weights

FILES = (
    *("config.yaml", "report.json", "metrics.csv", "packages.txt"),
    *("checkpoints/best.ckpt", "checkpoints/best.ckpt", "checkpoints/last.ckpt"),
)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Another content, by one of the ways in which files go wrong."""
    where, length = draw.randrange(len(content) + 1), draw.choice([1, 1, 2, 30, 1000])
    match draw.choice(["flip", "cut", "shorten", "insert", "repeat", "zero", "empty", "swap"]):
        case "flip" if content:
            changed = bytearray(content)
            changed[where % len(content)] ^= 1 << draw.randrange(8)
            return bytes(changed)
        case "cut":
            return content[:where] + content[where + length :]
        case "shorten":
            return content[:where]
        case "insert":
            return content[:where] + draw.choice([draw.randbytes(length), b"\x00", b"{", b"\n", b"&a", b"1e999", b": "])
        case "repeat":
            return content[:where] + content[where : where + length] * 3 + content[where + length :]
        case "zero":
            return content[:where] + bytes(length) + content[where + length :]
        case "swap":
            return content[where:] + content[:where]
        case _:
            return b""


class Base:
    """A run of one epoch, and what commands find out about it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.metrics = evaluate(directory)
        self.weights = dict(saved_net(directory).net.state_dict())

    def copy(self, target: Path, seed: int) -> tuple[Path, str]:
        draw = random.Random(seed)
        name = draw.choice(FILES)
        shutil.copytree(self.directory, target)
        path = target / name
        path.write_bytes(damaged(path.read_bytes(), draw))
        return target, name


def tried(function: Callable[..., object], *arguments: object, **options: object) -> object:
    """What a command gives; None where it says in one piece of text what is wrong."""
    try:
        return function(*arguments, **options)
    except RunError as error:
        said = str(error)
    assert said
    assert "Traceback" not in said
    return None


def look(base: Base, directory: Path, name: str) -> None:
    tried(read_report, directory)
    tried(write_report, [directory], directory)
    metrics = tried(evaluate, directory)
    if metrics is not None and name != "config.yaml":  # a digit of a config may be changed with a right to it
        assert metrics == base.metrics
    net = tried(lambda: saved_net(directory).net.state_dict())
    if isinstance(net, dict):
        assert net.keys() == base.weights.keys()
        assert all(torch.equal(net[key], base.weights[key]) for key in net)
    tried(resumed_run, [f"resume={directory}", "trainer.max_epochs=2"], [])


@pytest.fixture
def base(train_tiny: Train) -> Base:
    return Base(train_tiny("model=mlp", "model.hidden=[8]", "trainer.max_epochs=1", "logger=none"))


def test_a_damaged_run_is_read_right_or_refused(base: Base, tmp_path: Path) -> None:
    for seed in range(40):
        look(base, *base.copy(tmp_path / f"copy{seed}", seed))


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_a_thousand_damaged_runs_are_read_right_or_refused(base: Base, tmp_path: Path, share: int) -> None:
    for seed in range(1000 + share, 2000, 8):
        directory, name = base.copy(tmp_path / "copy", seed)
        look(base, directory, name)
        shutil.rmtree(directory)


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[] if seed < 8 else pytest.mark.slow) for seed in range(60)])
def test_a_damaged_run_that_is_resumed_is_the_run_it_was_or_refused(
    base: Base, train_tiny: Train, tmp_path: Path, seed: int
) -> None:
    whole = train_tiny("model=mlp", "model.hidden=[8]", "logger=none")
    directory, name = base.copy(tmp_path / "copy", 5000 + seed)
    settings = ("model=mlp", "model.hidden=[8]", "logger=none")
    if tried(train_tiny, *settings, f"resume={directory}", directory=directory) is not None and name != "config.yaml":
        first, second = weights(whole), weights(directory)
        assert all(torch.equal(first[key], second[key]) for key in first)
