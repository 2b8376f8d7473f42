"""Clusters that tests run on: started once for all tests of a process, never two at once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cluster.slurm import Slurm, missing
from tests.conftest import HANGS_S, no_longer_than


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Slurm]:
    """A SLURM of two virtual nodes; other processes of this test run wait for their turn."""
    if (why := missing()) is not None:
        pytest.skip(f"no SLURM: {why}")
    no_longer_than(0)  # its turn comes when the other process has run all of its tests
    with FileLock(Path(tempfile.gettempdir()) / "strobe-slurm.lock"), Slurm() as cluster:
        no_longer_than(HANGS_S)
        yield cluster
