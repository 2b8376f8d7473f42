"""What is left out of a step has no effect; a hook that someone has written is called."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from strobe.run.economy import NoProfiler, leave_batches_in_place, skip_idle_hooks
from strobe.tasks.task import Task


class Noting(Task):
    """Has one of the hooks itself."""

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None: ...


class Doubling(Task):
    """Has a hook for batches."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch


def trainer_with(moved: list[Any]) -> Any:
    def batch_to_device(batch: Any, device: Any = None, dataloader_idx: int = 0) -> Any:
        moved.append(batch)
        return batch

    return SimpleNamespace(
        callbacks=[],
        strategy=SimpleNamespace(batch_to_device=batch_to_device, root_device=torch.device("cpu")),
    )


def test_a_hook_of_ones_own_stays_and_an_empty_one_goes() -> None:
    task = Noting()
    skip_idle_hooks(trainer_with([]), task)
    assert callable(task.on_train_batch_end)
    assert task.on_after_backward is None


@pytest.mark.parametrize(
    ("task", "batch", "looks"),
    [
        (Task, (torch.ones(2), torch.ones(2)), False),
        (Task, {"pictures": torch.ones(2)}, True),
        (Task, (torch.ones(2), "a name"), True),
        (Task, (torch.ones(2, device="meta"),), True),
        (Doubling, (torch.ones(2), torch.ones(2)), True),
    ],
)
def test_lightning_looks_at_a_batch_that_may_need_it(task: type[Task], batch: Any, looks: bool) -> None:
    moved: list[Any] = []
    trainer = trainer_with(moved)
    leave_batches_in_place(trainer, task(), LightningDataModule())
    assert trainer.strategy.batch_to_device(batch) is batch
    assert bool(moved) is looks


def test_an_action_that_nobody_measures_can_hold_another() -> None:
    profiler = NoProfiler()
    with profiler.profile("outer"), profiler.profile("inner"):
        assert isinstance(torch.ones(1), Tensor)
