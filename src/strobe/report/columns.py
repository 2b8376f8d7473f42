"""The table of settings, whoever shows it: one column per objective, with the spread, the repetitions and the tests."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strobe.record.layout import Mode
from strobe.record.report import failure_line
from strobe.report.cells import number_text
from strobe.report.collect import Run, metrics_of, ranked_by, repetitions_in_words
from strobe.report.metrics import columns_of_test
from strobe.report.stats import Group, verdict

_ERROR = 200  # characters
_COUNT = 100  # whole numbers from here on have no decimals


@dataclass(frozen=True)
class Columns:
    """What a comparison shows of each setting.

    Attributes:
        keys: Settings.
        metrics: What runs are compared by, a column each.
        objectives: Of a search for several, those that aren't among the metrics, with their directions.
        tests: Test metrics beside them.
    """

    keys: Sequence[str]
    metrics: Sequence[str]
    objectives: Mapping[str, Mode] = field(default_factory=dict)
    tests: Sequence[str] = ()

    def header(self, *spread: str) -> list[str]:
        """The names; those of the spread stand where something is compared."""
        spread = spread if self.metrics else ()
        return [*self.keys, *self.metrics, *spread, *self.objectives, "n", *self.tests, "time"]

    def row(self, setting: Group, *, std: bool = False) -> list[str]:
        """The cells of a setting; ``std``: its spread is the interval and the standard deviation."""
        cells = [
            *setting.shown,
            *(number_text(setting.mean) if name == setting.metric else "" for name in self.metrics),
        ]
        if self.metrics:
            cells.append("" if setting.interval is None else number_text(setting.interval, setting.mean))
            cells += [] if not std else [""] if setting.std is None else [number_text(setting.std, setting.mean)]
        cells += [_text(mean_of(setting, name)) for name in self.objectives]
        seconds = [float((run.report.get("timing") or {}).get("total_s") or 0.0) for run in setting.runs]
        tests = [_text(mean_of(setting, name)) for name in self.tests]
        return [*cells, str(len(setting.runs)), *tests, f"{sum(seconds) / len(seconds):.1f} s"]

    def measured(self, run: Run) -> list[str]:
        """The cells of one run: metrics, other objectives, tests."""
        own = [
            "" if run.objective is None or run.metric != name else number_text(run.objective) for name in self.metrics
        ]
        return [*own, *(_text(measured_by(run, name)) for name in (*self.objectives, *self.tests))]


def columns_of(runs: Sequence[Run], groups: Sequence[Group], objectives: Mapping[str, Mode] | None = None) -> Columns:
    """The columns for some runs: none to compare them by where they completed, and are compared by nothing."""
    metrics = metrics_of(runs) or ([] if groups else ["objective"])
    others = {name: mode for name, mode in (objectives or {}).items() if name not in metrics}
    tests = [name for name in columns_of_test(runs) if name not in others]
    return Columns(groups[0].keys if groups else [], metrics, others, tests)


def measured_by(run: Run, name: str) -> float | None:
    """A number of a run's report by the name that a search may give it: a metric, a time, or ``parameters``."""
    known = {**(run.report.get("timing") or {}), **(run.report.get("metrics") or {})}
    return run.report.get("parameters") if name == "parameters" and name not in known else known.get(name)


def mean_of(setting: Group, name: str) -> float | None:
    """The mean of such a number over the repetitions that have it."""
    values = [value for run in setting.runs if (value := measured_by(run, name)) is not None]
    return sum(values) / len(values) if values else None


def bests(groups: Sequence[Group], columns: Columns) -> list[tuple[str, Group, str]]:
    """Of each objective, its name, its best setting, and the mean of that."""
    found = []
    for metric in columns.metrics:
        best = next((setting for setting in groups if setting.metric == metric and setting.mode is not None), None)
        found += [] if best is None else [(metric, best, number_text(best.mean))]
    for name, mode in columns.objectives.items():
        known = [(mean, setting) for setting in groups if (mean := mean_of(setting, name)) is not None]
        if finite := [pair for pair in known if math.isfinite(pair[0])]:
            mean, best = (min if mode == "min" else max)(finite, key=lambda pair: pair[0])
            found.append((name, best, _text(mean)))
    return found


def best_first(runs: Sequence[Run]) -> list[Run]:
    """Metric after metric; of each, those that are not ranked last, and after all those without one."""
    order, mode_of = metrics_of(runs), ranked_by(runs)

    def rank(run: Run) -> tuple[int, float]:
        if run.objective is None or run.metric is None:
            return len(order), 0.0
        mode = mode_of(run)
        worth = math.inf if mode is None else -run.objective if mode == "max" else run.objective
        return order.index(run.metric), worth

    return sorted(runs, key=rank)


def verdicts(groups: Sequence[Group]) -> list[str]:
    """Of each metric, whether its settings are ranked, and its two best can be told apart."""
    rivals: dict[str | None, list[Group]] = {}
    for setting in groups:
        rivals.setdefault(setting.metric, []).append(setting)
    said = {metric: text for metric, settings in rivals.items() if (text := verdict(settings))}
    return [f"{metric}: {text}" if metric is not None and len(rivals) > 1 else text for metric, text in said.items()]


def counts(runs: Sequence[Run]) -> str:
    """How many runs there are, and what became of them."""
    repetitions = {run.repetition for run in runs} - {None}
    repeated = f", {len(repetitions)} {repetitions_in_words(runs)}" if len(repetitions) > 1 else ""
    return f"{len(runs)} runs{repeated}: {statuses(runs)}"


def statuses(runs: Sequence[Run]) -> str:
    """How many runs ended in each way."""
    return ", ".join(f"{number} {status}" for status, number in Counter(run.status for run in runs).most_common())


def error_of(run: Run) -> str:
    """What ended a run early, in a line that fits a table."""
    return failure_line(run.report)[:_ERROR]


def _text(value: float | None) -> str:
    if value is None:
        return ""
    is_count = abs(value) >= _COUNT and float(value).is_integer()  # as of parameters
    return f"{value:.0f}" if is_count else number_text(value)
