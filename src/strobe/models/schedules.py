"""Learning rate schedules that torch lacks."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


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
