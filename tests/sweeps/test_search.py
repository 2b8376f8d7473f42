"""The draws of a search: fresh for each trial, and the same whoever makes them."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from strobe.record.study import NAME, study_storage
from strobe.sweeps.search import SamplerName, SearchSettings, _sampler
from strobe.sweeps.space import Space

SPACE = ["lr=tag(log,interval(1e-4,1e-1))", "width=range(1,1000)"]


def drawn(sampler: SamplerName, seed: int, numbers: list[int], study: optuna.Study) -> list[dict[str, Any]]:
    """What the next trials of a study draw, as a process that has just been started would."""
    space = Space(OverridesParser.create().parse_overrides(SPACE))
    search = SearchSettings(20, sampler, "none", seed, [], [])
    points = []
    for number in numbers:
        study.sampler = _sampler(search, space, number)
        trial = study.ask()
        space.suggest(trial)
        points.append(trial.params)
    return points


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii"])
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
