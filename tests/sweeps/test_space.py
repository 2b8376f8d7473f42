"""A search space from the override syntax that people know."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from strobe.errors import ConfigError
from strobe.sweeps.space import Space


def space(*overrides: str, conditions: Sequence[str] = ()) -> Space:
    return Space(OverridesParser.create().parse_overrides(list(overrides)), conditions)


def suggested(found: Space, values: Mapping[str, Any]) -> list[str]:
    """What a trial that draws ``values`` adds."""
    return found.suggest(optuna.trial.FixedTrial(dict(values)))  # type: ignore[arg-type]


SYNTAX: dict[str, BaseDistribution] = {
    "interval(0,1)": FloatDistribution(0.0, 1.0),
    "interval(-2.5,1e3)": FloatDistribution(-2.5, 1000.0),
    "interval(1,10)": FloatDistribution(1.0, 10.0),
    "int(interval(1,10))": IntDistribution(1, 10),
    "tag(log,interval(1e-4,1e-1))": FloatDistribution(1e-4, 1e-1, log=True),
    "tag(log,int(interval(1,100)))": IntDistribution(1, 100, log=True),
    "int(tag(log,interval(1,100)))": IntDistribution(1, 100, log=True),
    "range(1,6)": IntDistribution(1, 5),
    "range(4)": IntDistribution(0, 3),
    "range(1,10,4)": IntDistribution(1, 9, step=4),
    "range(1,9,4)": IntDistribution(1, 5, step=4),
    "range(9,0,-3)": IntDistribution(3, 9, step=3),
    "range(7,8)": IntDistribution(7, 7),
    "range(0,1,0.25)": CategoricalDistribution(("0.0", "0.25", "0.5", "0.75")),
    "choice(relu,gelu)": CategoricalDistribution(("relu", "gelu")),
    "choice(relu)": CategoricalDistribution(("relu",)),
    "relu,gelu": CategoricalDistribution(("relu", "gelu")),
    "16,32,64": CategoricalDistribution(("16", "32", "64")),
    "true,false": CategoricalDistribution(("True", "False")),
    "null,0.5": CategoricalDistribution(("null", "0.5")),
    "[64],[64,32]": CategoricalDistribution(("[64]", "[64,32]")),
    "'a,b',c": CategoricalDistribution(("'a,b'", "c")),
    "sort(3,1,2)": CategoricalDistribution(("1", "2", "3")),
}


@pytest.mark.parametrize("syntax", SYNTAX)
def test_every_way_to_write_a_sweep_is_a_distribution(syntax: str) -> None:
    found = space(f"a.b={syntax}")
    assert found.distributions == {"a.b": SYNTAX[syntax]}
    assert found.fixed == []


@pytest.mark.parametrize(
    "syntax", ["range(1,6)", "range(4)", "range(1,10,4)", "range(9,0,-3)", "range(0,1,0.25)", "a,b"]
)
def test_a_search_of_a_grid_has_the_values_of_the_grid(syntax: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"a={syntax}"])
    values = [str(value) for value in space(f"a={syntax}").grid()["a"]]
    assert sorted(values) == sorted(override.sweep_string_iterator())


def test_a_continuous_parameter_has_no_grid() -> None:
    with pytest.raises(ConfigError, match=r"^lr: hydra.sweeper.sampler=grid needs separate values, as in lr=0.1"):
        space("lr=interval(0,1)", "b=1,2").grid()


FIXED = ["seed=3", "model=mlp", "model.hidden=[64,32]", "name='two words'", "name=", "+x=1", "++x=1", "~logger", "~a=3"]


@pytest.mark.parametrize("override", FIXED)
def test_what_is_no_sweep_holds_for_every_trial_as_it_was_typed(override: str) -> None:
    found = space(override, "lr=interval(0,1)")
    assert found.fixed == [override]
    assert list(found.distributions) == ["lr"]


def test_a_later_override_replaces_an_earlier_one() -> None:
    assert space("lr=interval(0,1)", "lr=0.5").fixed == ["lr=0.5"]
    assert space("lr=interval(0,1)", "lr=0.5").distributions == {}
    assert space("lr=0.5", "lr=1,2").distributions == {"lr": CategoricalDistribution(("1", "2"))}
    assert space("lr=0.5", "lr=1,2").fixed == []


def test_what_a_trial_adds_can_be_typed() -> None:
    found = space(
        "lr=tag(log,interval(1e-6,1))", "n=int(interval(1,9))", "data.batch_size=16,32", "+optimizer.momentum=0.5,0.9"
    )
    values = {"lr": 1e-5, "n": 3, "data.batch_size": "32", "optimizer.momentum": "0.9"}
    overrides = suggested(found, values)
    assert overrides == ["lr=1e-05", "n=3", "data.batch_size=32", "++optimizer.momentum=0.9"]
    parsed = OverridesParser.create().parse_overrides(overrides)
    assert [override.value() for override in parsed] == [1e-5, 3, 32, 0.9]


def test_a_drawn_number_loses_no_digit_on_the_way() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = space("lr=tag(log,interval(1e-6,1))")
    for _ in range(20):
        trial = study.ask()
        (override,) = OverridesParser.create().parse_overrides(found.suggest(trial))
        assert override.value() == trial.params["lr"]


def test_a_parameter_with_a_condition_is_part_of_the_trials_that_meet_it() -> None:
    found = space(
        "+momentum=interval(0,1)",
        "optimizer=sgd,adam",
        "depth=int(interval(1,3))",
        "width=8,16",
        conditions=["momentum if optimizer=sgd", " width  if  depth = 2 ".replace(" = ", "=")],
    )
    values = {"momentum": 0.25, "optimizer": "sgd", "depth": 1, "width": "8"}
    assert suggested(found, values) == ["optimizer=sgd", "depth=1", "++momentum=0.25"]
    values |= {"optimizer": "adam", "depth": 2}
    assert suggested(found, values) == ["optimizer=adam", "depth=2", "width=8"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_condition_may_depend_on_a_parameter_that_has_one(order: tuple[int, ...]) -> None:
    typed = ["optimizer=sgd,adam", "nesterov=true,false", "momentum=0.5,0.9"]
    found = space(
        *(typed[place] for place in order), conditions=["momentum if nesterov=true", "nesterov if optimizer=sgd"]
    )
    values = {"optimizer": "sgd", "nesterov": "True", "momentum": "0.9"}
    assert sorted(suggested(found, values)) == ["momentum=0.9", "nesterov=True", "optimizer=sgd"]
    assert suggested(found, {**values, "optimizer": "adam"}) == ["optimizer=adam"]


@pytest.mark.parametrize(
    ("values", "typed", "drawn"),
    [
        ("true,false", "true", "True"),
        ("1e-4,1e-3", "1e-4", "0.0001"),
        ("sgd,'a b'", "'a b'", "'a b'"),
        ("8,16", "8", "8"),
    ],
)
def test_a_condition_is_met_however_its_value_is_spelt(values: str, typed: str, drawn: str) -> None:
    found = space("momentum=0.5,0.9", f"other={values}", conditions=[f"momentum if other={typed}"])
    assert suggested(found, {"other": drawn, "momentum": "0.9"}) == [f"other={drawn}", "momentum=0.9"]


def test_conditions_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.conditions"):
        space("a=1,2", "b=1,2", "c=1,2", conditions=["a if b=1", "b if a=1"])


@pytest.mark.parametrize(
    "condition",
    [
        "momentum if optimizer",
        "momentum optimizer=sgd",
        "momentum if seed=1",
        "weight_decay if optimizer=sgd",
        "momentum if",
        "",
        "if optimizer=sgd",
    ],
)
def test_a_condition_that_says_nothing_is_refused(condition: str) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.conditions: .*there are: optimizer, momentum"):
        space("optimizer=sgd,adam", "momentum=interval(0,1)", "seed=1", conditions=[condition])


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("interval(2,1)", r"lr: interval\(2\.0,1\.0\)"),
        ("int(interval(2,1))", r"lr: interval\(2,1\)"),
        ("interval(nan,1)", "lr: interval"),
        ("interval(0,inf)", "lr: interval"),
        ("tag(log,interval(0,1))", "lr: a logarithmic interval can't begin at 0"),
        ("tag(log,interval(-1,1))", r"lr: a logarithmic interval can't begin at -1\.0"),
        ("tag(log,int(interval(0,9)))", "lr: a logarithmic interval can't begin at 0"),
        ("range(3,1)", "lr: the range is empty"),
        ("range(0)", "lr: the range is empty"),
        ("glob(*)", r"lr: can't be searched: lr=glob\(\*\)"),
    ],
)
def test_a_space_without_values_is_refused(syntax: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        space(f"lr={syntax}")
