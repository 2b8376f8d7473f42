"""Tests that share a cluster run in one process: another would wait for it, and do nothing meanwhile."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
@pytest.mark.xdist_group("together")
def test_the_tests_of_a_group_are_known_by_its_name(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@together")
