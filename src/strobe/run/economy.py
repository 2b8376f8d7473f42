"""What Lightning does in every step to no effect, left out: of a small net's step it is a third."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from strobe.tasks.task import Task

_PER_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)
_TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_NOTHING = nullcontext("")


class NoProfiler(PassThroughProfiler):
    """Measures nothing, as Lightning's own does, and makes nothing for each of the twenty things it doesn't measure."""

    def profile(self, action_name: str) -> AbstractContextManager[str]:  # type: ignore[override]  # a generator there
        """The same context every time."""
        return _NOTHING


def skip_idle_hooks(trainer: Trainer, model: LightningModule) -> None:
    """Take away the per-step hooks that a callback or a task of ours inherits and that do nothing.

    Lightning calls each of them in every step, within a profiler's context: for half a dozen callbacks that is a fifth
    of a small net's step. It passes over a hook that is not callable.
    """
    ours = [callback for callback in trainer.callbacks if type(callback).__module__.startswith("strobe.")]  # type: ignore[attr-defined]
    owners: list[tuple[object, type]] = [(callback, Callback) for callback in ours]
    if isinstance(model, Task):
        owners.append((model, LightningModule))
    for owner, inherited_from in owners:
        for hook in _PER_STEP_HOOKS:
            idle = getattr(inherited_from, hook, None)
            if idle is not None and getattr(getattr(owner, hook), "__func__", None) is idle:
                setattr(owner, hook, None)


def leave_batches_in_place(trainer: Trainer, model: LightningModule, data: LightningDataModule) -> None:
    """Have a batch that is where the training is passed on as it is.

    Lightning looks through it for tensors, and asks the module and the datamodule for hooks of theirs: where there are
    such hooks, or another kind of batch, it still does.
    """
    strategy: Any = trainer.strategy
    moved: Callable[..., Any] = strategy.batch_to_device
    has_hooks: bool | None = None

    def batch_to_device(batch: Any, device: Any = None, dataloader_idx: int = 0) -> Any:
        nonlocal has_hooks
        if has_hooks is None:  # asked late: a callback may have given the module one
            has_hooks = any(is_overridden(hook, owner) for hook in _TRANSFER_HOOKS for owner in (model, data))
        if not has_hooks and type(batch) in (tuple, list):
            wanted = strategy.root_device if device is None else device
            if all(type(part) is Tensor and part.device == wanted for part in batch):
                return batch
        return moved(batch, device, dataloader_idx=dataloader_idx)

    strategy.batch_to_device = batch_to_device
