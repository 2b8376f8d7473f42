"""The random state of every rank: part of a checkpoint, and set once when training goes on from it."""

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from strobe.record.checkpoints import random_state, restore_random_state


class RandomStates:
    """Those of a run's ranks."""

    def __init__(self) -> None:
        self._to_restore: dict[str, Tensor] | None = None

    def begin(self, trainer: Trainer) -> None:
        """Have each rank draw numbers of its own, unless it goes on with some.

        All ranks are seeded alike, so that their nets are; their dropout must not be.
        """
        if trainer.global_rank > 0 and self._to_restore is None:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)

    def gathered(self, trainer: Trainer) -> list[dict[str, Tensor]]:
        """All of them as they are now, in the order of the ranks; every rank has to call this."""
        state = random_state()
        if trainer.world_size == 1:
            return [state]
        # Not Lightning's all_gather: it can be differentiated, and torch warns of that way.
        device = trainer.strategy.root_device
        states: list[dict[str, Tensor]] = [{} for _ in range(trainer.world_size)]
        for name, own in state.items():
            parts = [torch.empty_like(own, device=device) for _ in states]
            torch.distributed.all_gather(parts, own.to(device))
            for each, tensor in zip(states, parts, strict=True):
                each[name] = tensor.cpu()
        return states

    def take_up(self, states: list[dict[str, Tensor]], rank: int) -> None:
        """Be ready to go on with a rank's own state, where a checkpoint has one of it."""
        self._to_restore = states[rank] if rank < len(states) else None

    def restore(self) -> None:
        """Set what was taken up, once."""
        if self._to_restore is not None:
            restore_random_state(self._to_restore)
            self._to_restore = None
