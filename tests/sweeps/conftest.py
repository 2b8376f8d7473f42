from collections.abc import Iterator

import pytest

from tests.sweeps.pretend import CachingPlanner, planning


@pytest.fixture(scope="module")
def planner() -> Iterator[CachingPlanner]:
    """Of the shipped config."""
    with planning() as one:
        yield one
