"""Names of metrics: the split that each was measured in, and the columns that a comparison makes of them."""

import re
from collections.abc import Iterable, Mapping, Sequence

from strobe.record.layout import NO_METRICS
from strobe.report.collect import Run, metrics_of

_SPLIT = re.compile(r"(?<![^\W_])(train(?:ing)?|val(?:id(?:ation)?)?|test)(?![^\W_])")  # a word: val/loss, val_loss
_LOSS = re.compile(r"(?<![^\W_])loss(?![^\W_])")
_SPLITS = ("train", "val", "test")
_TEST_COLUMNS = 3


def split_of(name: str) -> str | None:
    """The split that a metric's name says it was measured in, ``train``, ``val`` or ``test``; None if it doesn't."""
    found = _SPLIT.search(name)
    return next((split for split in _SPLITS if found and found[0].startswith(split)), None)


def without_split(name: str) -> str:
    """A metric's name without the split, as in ``acc`` of ``val/acc``: what is measured in several, by one name."""
    return _SPLIT.sub("", name, count=1).strip("/_-. ") or name


def by_split(names: Iterable[str]) -> list[str]:
    """Each name once: train, val, test, then the others; within them the loss first, then as they are met."""

    def place(name: str) -> tuple[int, bool]:
        split = split_of(name)
        return len(_SPLITS) if split is None else _SPLITS.index(split), _LOSS.search(name) is None

    return sorted(dict.fromkeys(names), key=place)


def logged_by(runs: Iterable[Run]) -> list[str]:
    """The metrics in the reports of runs, in the order of `by_split`."""
    return by_split(name for run in runs for name in run.report.get("metrics") or {})


def columns_of_test(runs: Sequence[Run]) -> list[str]:
    """The test metrics to show beside those that the runs are compared by, at most three.

    Beside ``val/acc`` that is ``test/acc``, beside ``val_iou`` it is ``test_iou``; where no run has it, the first that
    there is. A test metric that runs are compared by has a column already.
    """
    compared = metrics_of(runs)
    columns: dict[str, None] = {}
    for metric in dict.fromkeys([*compared, *(run.metric for run in runs)]):
        tests = [name for name in logged_by(run for run in runs if run.metric == metric) if split_of(name) == "test"]
        if metric is None:  # nothing says which of them matters
            columns |= dict.fromkeys(tests)
        elif tests and split_of(metric) != "test":
            same = _SPLIT.sub("test", metric, count=1)
            columns[same if same in tests else tests[0]] = None
    return [name for name in columns if name not in compared][:_TEST_COLUMNS]


def curve_metric(runs: Sequence[Run], tables: Sequence[Sequence[Mapping[str, str]]], metric: str | None) -> str | None:
    """The metric that learning curves are drawn of; None where there are no epochs.

    Args:
        runs: What is compared.
        tables: Their epochs.
        metric: What they are compared by. If that has no epochs, it is what they monitored, else a validation loss,
            else the first that there is.
    """
    cells = (cell for rows in tables for row in rows for cell in row.items())
    logged = list(dict.fromkeys(name for name, value in cells if value and name not in NO_METRICS))
    monitored = [best["metric"] for run in runs if (best := run.report.get("best"))]
    losses = [name for name in logged if split_of(name) == "val" and _LOSS.search(name)]
    return next((name for name in [metric, *monitored, *losses, *logged] if name in logged), None)


def losses_of(tables: Sequence[Sequence[Mapping[str, str]]]) -> dict[str, str]:
    """Split -> name of the loss that was measured in it after each epoch, validation first."""
    logged = dict.fromkeys(name for rows in tables for row in rows for name, value in row.items() if value)
    found = {split_of(name): name for name in reversed(logged) if _LOSS.search(name)}
    return {split: found[split] for split in ("val", "train") if split in found}
