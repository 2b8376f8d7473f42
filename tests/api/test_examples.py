"""The examples of the docstrings do what they say; on a small data set, so that they do it fast."""

import doctest
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import strobe
from tests.conftest import TEST_CONF


class _OnTinyData:
    """`strobe`, but for the data that is trained on."""

    def __init__(self, root: Path) -> None:
        self.given = ["data=tiny", f"data.root={root}", "trainer=cpu"]

    def __getattr__(self, name: str) -> Any:
        if name in ("compose", "train"):
            call: Callable[..., Any] = getattr(strobe, name)
            return functools.partial(self._called, call)
        return getattr(strobe, name)

    def _called(self, call: Callable[..., Any], overrides: Any) -> Any:
        return call([*self.given, *overrides], TEST_CONF)


PUBLIC = [getattr(strobe, name) for name in strobe.__all__]
METHODS = [strobe.Run.evaluate, strobe.Run.predict, strobe.Table.to_pandas]


@pytest.mark.parametrize("thing", [*PUBLIC, *METHODS], ids=lambda thing: thing.__qualname__)
def test_an_example_does_what_it_says(
    thing: Any, here: Path, first: Path, tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(first)
    found = doctest.DocTestFinder(recurse=False).find(thing, globs={"strobe": _OnTinyData(tiny_root)})
    assert found[0].examples or thing in (strobe.Sweep, strobe.Evaluation), "it has no example"
    for each in found:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        said: list[str] = []
        runner.run(each, out=said.append, clear_globs=False)
        assert runner.failures == 0, "".join(said)
