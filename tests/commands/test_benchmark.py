"""The benchmark runs and prints ratios; what they are is no test's business."""

import re
from pathlib import Path

import pytest

from strobe.benchmark.throughput import scaling, steps
from strobe.data.idx import MNIST
from strobe.data.root import default_root

pytestmark = pytest.mark.mnist


@pytest.fixture(scope="module")
def root() -> Path:
    MNIST().prepare(default_root(), download=True)
    return default_root()


def test_two_processes_are_compared_with_one(root: Path) -> None:
    table = scaling(root, rounds=1, batches=5)
    assert re.search(r"1 process .* images/s", table)
    assert re.search(r"two processes train \d\.\d\d times as fast as one", table)


def test_steps_are_compared_with_a_hand_written_loop(root: Path) -> None:
    table = steps(root, 1, ["simple_nn"], [4096], ["32", "16-mixed"])
    assert len(re.findall(r"simple_nn +(?:32|16-mixed) +4096 .* x", table)) == 2
