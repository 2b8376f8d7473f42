"""The draws of a search: fresh for each trial, and the same whoever makes them."""

import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from strobe.errors import ConfigError
from strobe.record.study import NAME, study_storage
from strobe.sweeps.quasirandom import HaltonSampler
from strobe.sweeps.sampling import SamplerName, SearchSettings, sampler_of
from strobe.sweeps.space import Space
from strobe.sweeps.studies import open_or_create

SPACE = ["lr=tag(log,interval(1e-4,1e-1))", "width=range(1,1000)"]


def drawn(sampler: SamplerName, seed: int, numbers: list[int], study: optuna.Study) -> list[dict[str, Any]]:
    """What the next trials of a study draw, as a process that has just been started would."""
    space = Space(OverridesParser.create().parse_overrides(SPACE))
    search = SearchSettings(20, sampler, "none", seed, [], [])
    points = []
    for number in numbers:
        study.sampler = sampler_of(search, space, number)
        trial = study.ask()
        space.suggest(trial)
        points.append(trial.params)
    return points


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii", "cmaes", "qmc"])
def test_each_trial_draws_a_point_of_its_own_and_the_same_one_again(tmp_path: Path, sampler: SamplerName) -> None:
    def study(name: str) -> optuna.Study:
        (tmp_path / name).mkdir()
        return optuna.create_study(study_name=NAME, storage=study_storage(tmp_path / name))

    whole = drawn(sampler, 1, list(range(8)), study("whole"))
    continued = study("continued")
    halves = [*drawn(sampler, 1, list(range(4)), continued), *drawn(sampler, 1, list(range(4, 8)), continued)]
    assert halves == whole
    assert len({point["lr"] for point in whole}) == 8
    assert not {point["lr"] for point in whole} & {
        point["lr"] for point in drawn(sampler, 2, list(range(8)), study("other"))
    }


def test_quasi_random_points_fill_the_space_evenly(tmp_path: Path) -> None:
    space = Space(
        OverridesParser.create().parse_overrides(["lr=tag(log,interval(1e-2,1))", "x=interval(0,1)", "b=1,2"])
    )
    study = optuna.create_study(sampler=HaltonSampler(space.distributions, seed=1))
    for _ in range(36):
        space.suggest(study.ask())
    points = [trial.params for trial in study.trials]
    halves = Counter((point["lr"] < 0.1, int(point["x"] * 3)) for point in points)
    assert set(halves.values()) == {6}, "bases 2 and 3: every six points in a row fall into the six cells"
    fourths = Counter(int(4 * (2 + math.log10(point["lr"])) / 2) for point in points)
    assert set(fourths.values()) == {9}


def test_a_search_begins_no_trial_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SearchSettings(20, "tpe", "none", 1, [], [], timeout=60).timeout == 60
    with pytest.raises(ConfigError, match=r"hydra.sweeper.timeout=0: must be a number above 0"):
        SearchSettings(20, "tpe", "none", 1, [], [], timeout=0)


ABOUT = {"objective": {"val/acc": "max"}, "space": {"lr": "(1, 2)"}, "settings": {"trainer.max_epochs": 2}}


@pytest.mark.parametrize(
    ("part", "now", "words"),
    [
        ("objective", {"val/loss": "min"}, "another objective (val/acc: max there, None here, val/loss"),
        ("objective", {"val/acc": "min"}, "another objective (val/acc: max there, min here)"),
        ("space", {"lr": "(1, 3)"}, "another space (lr: (1, 2) there, (1, 3) here)"),
        ("settings", {"trainer.max_epochs": 3}, "other settings (trainer.max_epochs: 2 there, 3 here)"),
    ],
)
def test_a_study_goes_on_with_what_it_is_about_alone(
    tmp_path: Path, part: str, now: dict[str, Any], words: str
) -> None:
    open_or_create(tmp_path, ABOUT, "none", alone=True)
    open_or_create(tmp_path, ABOUT, "none", alone=True)
    with pytest.raises(ConfigError, match=re.escape(words)):
        open_or_create(tmp_path, {**ABOUT, part: now}, "none", alone=True)
