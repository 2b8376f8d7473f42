"""Learning rate schedules that torch lacks."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

_SCHEDULED = ("lr", "momentum", "betas")


class WarmupCosineLR(LambdaLR):
    """Linearly from nothing to the optimizer's rate, then down to ``final_ratio`` of it along half a cosine.

    Args:
        optimizer: Whose rate to set.
        total_steps: Length of the whole schedule.
        warmup: Share of the steps that go up, in [0, 1).
        final_ratio: The last rate as a share of the highest.
        last_epoch: As in every torch schedule: the step to continue from.

    Raises:
        ValueError: If a share lies outside its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int,
        warmup: float = 0.1,
        final_ratio: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= warmup < 1 or not 0 <= final_ratio <= 1:
            raise ValueError(
                f"scheduler.warmup={warmup!r}, scheduler.final_ratio={final_ratio!r}: must lie in [0, 1) and [0, 1]"
            )
        self.total_steps = total_steps
        self.warmup_steps = round(total_steps * warmup)
        self.final_ratio = final_ratio
        super().__init__(optimizer, self.ratio, last_epoch)

    def ratio(self, step: int) -> float:
        """The rate at ``step`` as a share of the highest."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@dataclass(frozen=True)
class Course:
    """How far along a schedule each step of a run is.

    A run whose length is changed when it is resumed takes the rest of its schedule over the steps that it then has:
    from ``(start, position)`` evenly to ``(end, length)``. Otherwise the position is the step.

    Attributes:
        length: Steps that the schedule was made for.
        start: The step from which on it is stretched.
        position: Where in the schedule it was then, in steps of its own.
        end: The last step of the run.
    """

    length: int
    start: int
    position: float
    end: int

    @classmethod
    def new(cls, length: int) -> "Course":
        """Of a run that goes its whole length."""
        return cls(length, 0, 0.0, length)

    @property
    def is_stretched(self) -> bool:
        """Whether positions are not steps."""
        return (self.start, self.position, self.end) != (0, 0.0, self.length)

    def at(self, step: int) -> float:
        """The position at a step."""
        if step <= self.start:
            return self.position
        left = max(1, self.end - self.start)
        return min(float(self.length), self.position + (self.length - self.position) * (step - self.start) / left)

    def to(self, step: int, end: int) -> "Course":
        """The same schedule, its rest taken from ``step`` to ``end``.

        Raises:
            ValueError: If there is no rest.
        """
        if end == self.end:
            return self
        position = self.at(step)
        if position >= self.length:
            raise ValueError(f"the schedule has ended with step {self.end}")
        return Course(self.length, step, position, end)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


class StretchedLR(LRScheduler):
    """The rest of another schedule, over more or fewer steps than that was made for.

    Walks the other one along a stand-in of the optimizer, and takes rates and momenta between two of its steps.

    Args:
        optimizer: Fresh: with the rates that the other schedule begins with.
        make: Makes the other schedule for an optimizer.
        course: Where in it each step is.
    """

    def __init__(self, optimizer: Optimizer, make: Callable[[Optimizer], LRScheduler], course: Course) -> None:
        groups = [{key: group[key] for key in _SCHEDULED if key in group} for group in optimizer.param_groups]
        self._course = course
        self._shadow = _Rates(
            [{"params": [nn.Parameter(torch.zeros(1))], **group} for group in groups], optimizer.defaults
        )
        self._inner = make(self._shadow)
        self._walked = 0
        self._before = self._after = self._rates()
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each group at this step; sets the momenta, as torch's own schedules do."""
        position = self._course.at(self.last_epoch)
        while self._walked < math.ceil(position):
            self._shadow.step()
            self._inner.step()
            self._walked += 1
            self._before, self._after = self._after, self._rates()
        share = 1.0 - (self._walked - position) if self._walked else 0.0
        rates: list[float | torch.Tensor] = []
        for group, before, after in zip(self.optimizer.param_groups, self._before, self._after, strict=True):
            now = {key: _between(before[key], after[key], share) for key in before}
            rates.append(now.pop("lr"))
            group.update(now)
        return rates

    def state_dict(self) -> dict[str, Any]:
        """The step alone: the rest follows from the course."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to the step of any schedule's state."""
        self.last_epoch = int(state_dict["last_epoch"])
        self._last_lr = self.get_lr()

    def _rates(self) -> list[dict[str, Any]]:
        return [{key: group[key] for key in _SCHEDULED if key in group} for group in self._shadow.param_groups]


class _Rates(Optimizer):
    """Has parameter groups and changes nothing."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # returns no loss
        """Nothing."""


def _between(before: Any, after: Any, share: float) -> Any:
    if isinstance(before, tuple):
        return tuple(_between(first, second, share) for first, second in zip(before, after, strict=True))
    return before + (after - before) * share
