"""Parameter groups by patterns: who belongs where, with which options, and what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from strobe.errors import ConfigError
from strobe.models.groups import freeze, parameter_groups, problems
from strobe.models.optimizers import MuonAdamW

NAMES = [
    *("net.stem.weight", "net.stem.bias", "net.norm.weight", "net.norm.bias"),
    *("net.head.weight", "net.head.bias", "loss.scale"),
]
WEIGHTS = {"net.stem.weight", "net.head.weight"}


def module(*, wrapped: bool = False) -> dict[str, nn.Parameter]:
    """Parameters by name, in the order of a module."""
    shapes = {name: (3, 3) if name in WEIGHTS else (3,) for name in NAMES}
    inside = "_fsdp_wrapped_module." if wrapped else ""
    return {name.replace("net.", f"net.{inside}"): nn.Parameter(torch.ones(*shape)) for name, shape in shapes.items()}


def grouped(groups: list[dict[str, Any]], **more: Any) -> list[tuple[list[str], dict[str, Any]]]:
    """The names of each group, and its options."""
    named = module(wrapped=more.pop("wrapped", False))
    names = {id(parameter): name.replace("_fsdp_wrapped_module.", "") for name, parameter in named.items()}
    optimizer = more.pop("optimizer", partial(AdamW, lr=0.1))
    built = parameter_groups(named.items(), groups, optimizer=optimizer, **more)
    optimizer([{**group} for group in built])  # which takes them
    return [
        ([names[id(parameter)] for parameter in group["params"]], {k: v for k, v in group.items() if k != "params"})
        for group in built
    ]


def test_without_groups_all_parameters_are_one() -> None:
    assert grouped([]) == [(NAMES, {})]


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_first_match_wins_and_what_matches_none_comes_first(wrapped: bool) -> None:
    groups = [
        {"match": ["head.*", "loss.*"], "lr": 1e-3},
        {"match": "net.stem.*", "freeze": True},
        {"match": "*.bias", "betas": [0.5, 0.6]},
    ]
    assert grouped(groups, wrapped=wrapped) == [
        (["net.norm.weight"], {}),
        (["net.head.weight", "net.head.bias", "loss.scale"], {"lr": 1e-3}),
        (["net.norm.bias"], {"betas": (0.5, 0.6)}),
    ]


def test_a_factor_multiplies_the_optimizers_own_rate_and_a_rate_is_scaled_as_that_was() -> None:
    groups = [{"match": "head.*", "lr_factor": 0.5}, {"match": "norm.*", "lr": 0.01}]
    found = {names[0]: options for names, options in grouped(groups, lr_scale=2)}
    assert found["net.head.weight"] == {"lr": pytest.approx(0.05)}
    assert found["net.norm.weight"] == {"lr": pytest.approx(0.02)}
    (_, options) = grouped([{"match": "head.*", "lr_factor": 0.5}], optimizer=SGD)[1]
    assert options == {"lr": pytest.approx(0.5e-3)}, "the class's default rate"


def test_norms_and_biases_without_decay_are_apart_within_each_group_that_does_not_say_otherwise() -> None:
    groups = [{"match": "head.*", "lr": 1.0}, {"match": "norm.*", "weight_decay": 0.3}]
    assert grouped(groups, weights=WEIGHTS) == [
        (["net.stem.weight"], {}),
        (["net.stem.bias", "loss.scale"], {"weight_decay": 0.0}),
        (["net.head.weight"], {"lr": 1.0}),
        (["net.head.bias"], {"lr": 1.0, "weight_decay": 0.0}),
        (["net.norm.weight", "net.norm.bias"], {"weight_decay": 0.3}),
    ]


def test_only_what_is_not_frozen_moves_and_each_at_its_own_rate() -> None:
    named = module()
    groups = [{"match": "head.*", "lr": 0.5}, {"match": "stem.*", "freeze": True}]
    freeze(named.items(), groups)
    assert [name for name, parameter in named.items() if not parameter.requires_grad] == NAMES[:2]
    optimizer = SGD(parameter_groups(named.items(), groups, optimizer=partial(SGD, lr=0.25)), lr=0.25)
    sum(parameter.sum() for parameter in named.values() if parameter.requires_grad).backward()  # type: ignore[union-attr]
    optimizer.step()
    moved = [round(1 - float(parameter.detach().mean()), 6) for parameter in named.values()]
    assert moved == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.25]


def test_muon_keeps_the_groups_rates_on_both_its_sides() -> None:
    named = module()
    groups = [{"match": "head.*", "lr": 0.5, "betas": [0.8, 0.9]}]
    optimizer = MuonAdamW(parameter_groups(named.items(), groups, optimizer=MuonAdamW))
    assert sorted(group["lr"] for group in optimizer.param_groups) == [1e-3, 1e-3, 0.5, 0.5]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"match": "a"}, "must be a list"),
        ("head.*", "must be a list"),
        (["head.*"], r"groups\[0\]='head.\*': must be a mapping"),
        ([{"lr": 1.0}], r"groups\[0\].match=None: must be a pattern"),
        ([{"match": []}], r"match=\[\]"),
        ([{"match": ["a", 3]}], "must be a pattern"),
        ([{"match": "*", "freeze": 1}], "freeze=1: must be true or false"),
        ([{"match": "*", "freeze": True, "lr": 1.0}], "leaves nothing for lr"),
        ([{"match": "*", "lr": 1.0, "lr_factor": 1.0}], "not both"),
        ([{"match": "*", "wieght_decay": 0.0}], "did you mean weight_decay"),
        ([{"match": "*", "momentum": 0.0}], "momentum: no such option; .*match, freeze, lr_factor, lr, betas"),
        ([{"match": "*", 3: 0.0}], "3: no such option"),
        ([{"match": "*", "lr": -1.0}], "lr=-1.0: must be a number from 0"),
        ([{"match": "*", "lr": "1e-3"}], "lr='1e-3'"),
        ([{"match": "*", "lr": True}], "lr=True"),
        ([{"match": "*", "lr_factor": float("nan")}], "lr_factor=nan"),
        ([{"match": "*", "lr": float("inf")}], "lr=inf"),
        ([{"match": "*", "betas": 0.9}], "betas=0.9: must be 2 numbers"),
        ([{"match": "*", "betas": [0.9]}], "must be 2 numbers"),
        ([{"match": "*", "amsgrad": 0}], "amsgrad=0: must be true or false"),
    ],
)
def test_a_mistake_in_a_group_is_told_whatever_the_net_is(groups: Any, words: str) -> None:
    assert problems(groups, AdamW)
    with pytest.raises(ConfigError, match=words):
        parameter_groups(module().items(), groups, optimizer=AdamW)


def test_all_mistakes_are_told_together_and_none_where_there_is_none() -> None:
    assert len(problems([{"match": "*", "lr": -1, "eps": "x"}, {"mach": "*"}], AdamW)) == 4
    assert problems(None, AdamW) == problems([], AdamW) == []
    assert problems([{"match": "*", "weight_decay": 0, "fused": True, "freeze": False}], AdamW) == []


def test_an_optimizer_that_takes_anything_is_given_anything() -> None:
    class Open(Optimizer):
        def __init__(self, params: Any, **options: Any) -> None:
            super().__init__(params, options)

    assert problems([{"match": "*", "anything": 1}], Open) == []
    assert "no lr" in problems([{"match": "*", "lr_factor": 1}], Open)[0]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([{"match": "hed.*"}], r"groups\[0\].match: 'hed.\*' matches no parameter; did you mean head"),
        ([{"match": ["*.bias", "layer4.*"]}], "'layer4.*' matches no parameter; the names begin with stem, norm, head"),
        ([{"match": "head.*"}, {"match": "head.bias"}], r"groups\[1\].* belongs to the groups before"),
        ([{"match": "*", "freeze": True}], "every parameter is frozen"),
    ],
)
def test_a_pattern_that_does_nothing_is_a_mistake(groups: list[dict[str, Any]], words: str) -> None:
    for call in (freeze, partial(parameter_groups, optimizer=AdamW)):
        with pytest.raises(ConfigError, match=words):
            call(module().items(), groups)  # type: ignore[operator]


def test_a_rate_for_what_the_net_froze_itself_is_a_mistake() -> None:
    named = module()
    for name in ("net.head.weight", "net.head.bias"):
        named[name].requires_grad_(False)
    with pytest.raises(ConfigError, match="frozen already"):
        parameter_groups(named.items(), [{"match": "head.*", "lr": 1.0}], optimizer=AdamW)
