"""Clusters that tests run on: started once for all tests of a process, never two at once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cluster.slurm import Slurm, missing


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Slurm]:
    """A SLURM of two virtual nodes; other processes of this test run wait for their turn."""
    if (why := missing()) is not None:
        pytest.skip(f"no SLURM: {why}")
    with FileLock(Path(tempfile.gettempdir()) / "strobe-slurm.lock"), Slurm() as cluster:
        yield cluster
