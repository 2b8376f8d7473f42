"""A schedule whose length changes on the way."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from strobe.models.schedules import Course, StretchedLR, WarmupCosineLR

LENGTH = 40
SCHEDULES: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "onecycle": partial(OneCycleLR, max_lr=0.1, total_steps=LENGTH),
    "cosine": partial(CosineAnnealingLR, T_max=LENGTH),
    "warmup_cosine": partial(WarmupCosineLR, total_steps=LENGTH, warmup=0.25),
}
SETTINGS = ("lr", "momentum", "betas")


def optimizer(kind: str) -> Optimizer:
    parameters = [{"params": [nn.Parameter(torch.zeros(1))]}, {"params": [nn.Parameter(torch.zeros(1))], "lr": 0.02}]
    return SGD(parameters, lr=0.1, momentum=0.9) if kind == "sgd" else Adam(parameters, lr=0.1)


def walk(schedule: LRScheduler, steps: int) -> list[list[dict[str, Any]]]:
    """What the groups hold after each step, the beginning included."""
    shown = []
    for step in range(steps + 1):
        if step:
            schedule.optimizer.step()
            schedule.step()
        shown.append(
            [{key: group[key] for key in SETTINGS if key in group} for group in schedule.optimizer.param_groups]
        )
    return shown


def close(first: Any, second: Any) -> bool:
    return all(
        value == pytest.approx(other[key], rel=1e-9, abs=1e-15)
        for ours, theirs in zip(first, second, strict=True)
        for mine, other in zip(ours, theirs, strict=True)
        for key, value in mine.items()
    )


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_twice_the_steps_from_a_quarter_on_pass_through_the_same_rates(name: str, kind: str) -> None:
    plain = walk(SCHEDULES[name](optimizer(kind)), LENGTH)
    course = Course.new(LENGTH).to(10, 70)  # 30 steps are left, and take 60
    stretched = walk(StretchedLR(optimizer(kind), SCHEDULES[name], course), 70)
    assert close(stretched[10::2], plain[10:])
    assert course.at(70) == LENGTH


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_half_the_steps_pass_through_every_other_rate(name: str, kind: str) -> None:
    plain = walk(SCHEDULES[name](optimizer(kind)), LENGTH)
    stretched = walk(StretchedLR(optimizer(kind), SCHEDULES[name], Course.new(LENGTH).to(10, 25)), 25)
    assert close(stretched[10:], plain[10::2])


def test_a_stretched_schedule_goes_on_from_its_state() -> None:
    make, course = SCHEDULES["onecycle"], Course.new(LENGTH).to(10, 63)
    whole = walk(StretchedLR(optimizer("sgd"), make, course), 63)
    resumed = StretchedLR(optimizer("sgd"), make, Course(**course.state()))
    resumed.load_state_dict({"last_epoch": 30, "anything": "else"})
    assert [group["lr"] for group in whole[30]] == resumed.get_last_lr()
    assert walk(resumed, 33)[1:] == whole[31:]


def test_a_course_is_changed_more_than_once() -> None:
    course = Course.new(40).to(10, 70).to(40, 50)
    assert course.at(40) == 25
    assert course.at(50) == 40
    assert course.to(45, 50) is course
    with pytest.raises(ValueError, match="the schedule has ended with step 50"):
        course.to(50, 60)
