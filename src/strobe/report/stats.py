"""Repetitions grouped: means, intervals, and whether two settings can be told apart."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from mpmath import betainc

from strobe.record.layout import Mode
from strobe.report.cells import number_text
from strobe.report.collect import Run, metrics_of, ranked_by, repetitions_in_words


@dataclass(frozen=True)
class Group:
    """The completed runs of one setting.

    Attributes:
        setting: What they share.
        runs: At least one.
        mean: Of their objectives; NaN where there is nothing that they are compared by.
        std: Sample standard deviation; None for a single run.
        interval: Half the width of the 95 % confidence interval of the mean (Student's t); None for a single run.
        mode: Whether more or less is better; None where the setting is not ranked among the others of its metric.
    """

    setting: tuple[tuple[str, str], ...]
    runs: Sequence[Run]
    mean: float
    std: float | None
    interval: float | None
    mode: Mode | None = None

    @property
    def metric(self) -> str | None:
        """What the runs are compared by, if by anything."""
        return self.runs[0].metric

    @property
    def rank(self) -> float:
        """Less is better, whichever way the metric is; those that are not ranked come last, as they were found."""
        if self.mode is None:
            return math.inf
        return -self.mean if self.mode == "max" else self.mean

    @property
    def label(self) -> str:
        """The setting in a few words."""
        return ", ".join(f"{key}={value}" for key, value in zip(self.keys, self.shown, strict=True)) or "all runs"

    @property
    def brief(self) -> str:
        """The label with the last part of each name, where that tells them apart: lr for optimizer.lr."""
        ends = Counter(key.rpartition(".")[2] for key in self.keys)
        names = [end if ends[end := key.rpartition(".")[2]] == 1 else key for key in self.keys]
        return ", ".join(f"{name}={value}" for name, value in zip(names, self.shown, strict=True)) or self.label

    @property
    def keys(self) -> list[str]:
        """Names of the settings."""
        return [key for key, _ in self.setting]

    @property
    def shown(self) -> list[str]:
        """Values of the settings, long numbers rounded."""
        return [rounded(value) for _, value in self.setting]

    @property
    def values(self) -> list[float]:
        """The objectives."""
        return [run.objective for run in self.runs if run.objective is not None]


def rounded(text: str) -> str:
    """A number with more than six decimals to four digits, as for the draws of a search; other text as it is."""
    _, point, decimals = text.rpartition(".")
    if not point or len(decimals) <= 6:
        return text
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def group(runs: Sequence[Run]) -> list[Group]:
    """The settings, best first, metric after metric, then those of completed runs that are compared by none.

    A run whose objective is not known belongs to no setting.
    """
    members: dict[tuple[str | None, Mode | None, tuple[tuple[str, str], ...]], list[Run]] = {}
    mode_of = ranked_by(runs)
    for run in runs:
        if run.objective is not None or (run.metric is None and run.status == "completed"):
            members.setdefault((run.metric, run.mode, run.setting), []).append(run)
    groups = []
    for (_, _, setting), alike in members.items():
        values = [run.objective for run in alike if run.objective is not None]
        many = len(values) > 1
        std = statistics.stdev(values) if many else None
        half = None if std is None else _t_quantile(len(values) - 1) * std / math.sqrt(len(values))
        mean = statistics.fmean(values) if values else math.nan
        groups.append(Group(setting, alike, mean, std, half, mode_of(alike[0])))
    order = [*metrics_of(runs), None]
    return sorted(groups, key=lambda group: (order.index(group.metric), group.rank))


def verdict(rivals: Sequence[Group]) -> str:
    """What can be said of the order of the settings of one metric, or of none; empty where there is nothing."""
    ranked = [group for group in rivals if group.mode is not None]
    others = len(rivals) - len(ranked)
    metric = rivals[0].metric
    if metric is None:
        return f"{_counted(others)} not ranked: no objective was recorded."
    said = [comparison(ranked[0], ranked[1])] if len(ranked) > 1 else []
    if len({run.mode for group in rivals for run in group.runs} - {None}) > 1:
        said.append(f"No setting is ranked: some runs record that more of {metric} is better, others that less is.")
    elif others and len(rivals) > 1:
        said.append(f"{_counted(others)} not ranked: whether more or less of {metric} is better was not recorded.")
    return " ".join(said)


def _counted(settings: int) -> str:
    return "1 setting is" if settings == 1 else f"{settings} settings are"


def comparison(first: Group, second: Group) -> str:
    """Whether the two can be told apart, in a sentence that names the test."""
    if len(first.values) < 2 or len(second.values) < 2:
        return "The two best settings can't be compared: that takes at least two seeds each (seed=1,2,3)."
    words = repetitions_in_words([*first.runs, *second.runs])
    scale = max(map(abs, [*first.values, *second.values]))
    paired = _paired(first, second)
    if paired is not None:
        differences = [a - b for a, b in paired]
        if _alike(differences, scale):
            return f"The two best settings differ by {abs(differences[0]):.4g} with every {words[:-1]}."
        p_value = paired_t_test(differences)
        test = f"paired t-test over {len(paired)} {words}"
    else:
        if _alike(first.values, scale) and _alike(second.values, scale):
            return f"The two best settings don't vary between {words}: no test applies."
        p_value = welch_t_test(first.values, second.values)
        test = f"Welch's t-test, n = {len(first.values)} and {len(second.values)}"
    found = "can be told apart" if p_value < 0.05 else "can't be told apart"
    difference = number_text(abs(first.mean - second.mean), first.mean)
    return f"The two best settings {found}: they differ by {difference} ({test}, p = {p_value:.2g})."


def _alike(values: Sequence[float], scale: float) -> bool:
    """Whether numbers differ by no more than the rounding of floats as large as ``scale``."""
    return max(values) - min(values) <= 1e-12 * scale


def _paired(first: Group, second: Group) -> list[tuple[float, float]] | None:
    """The objectives by repetition, where both settings were repeated alike, once each."""
    by_repetition = []
    for group in (first, second):
        objectives = {run.repetition: run.objective for run in group.runs}
        if None in objectives or len(objectives) != len(group.runs):
            return None
        by_repetition.append(objectives)
    if by_repetition[0].keys() != by_repetition[1].keys():
        return None
    pairs = [(a, by_repetition[1][repetition]) for repetition, a in by_repetition[0].items()]
    return [(a, b) for a, b in pairs if a is not None and b is not None]


def paired_t_test(differences: Sequence[float]) -> float:
    """Two-sided p-value of the hypothesis that the differences have the mean 0; they must not all be equal."""
    n = len(differences)
    t = statistics.fmean(differences) / (statistics.stdev(differences) / math.sqrt(n))
    return t_tails(t, n - 1)


def welch_t_test(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of the hypothesis that both have one mean, whatever their variances; one has to vary.

    Source: Welch: The generalization of "Student's" problem, 1947.
    """
    a, b = (statistics.variance(values) / len(values) for values in (first, second))
    t = (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(a + b)
    degrees = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return t_tails(t, degrees)


def t_tails(t: float, degrees: float) -> float:
    """Probability that a Student's t variable is further from 0 than ``t``.

    Not scipy's: wherever scipy is installed torchmetrics imports it, which adds half a second to every command. mpmath
    comes with torch.
    """
    return float(betainc(degrees / 2, 0.5, 0, degrees / (degrees + t * t), regularized=True))


@cache  # settings are repeated alike, and each costs 40 integrals
def _t_quantile(degrees: int) -> float:
    """The factor of a two-sided 95 % interval."""
    low, high = 0.0, 13.0  # the factor for one degree of freedom is 12.7
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tails(middle, degrees) > 0.05 else (low, middle)
    return (low + high) / 2
