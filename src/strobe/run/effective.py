"""What a command asked for, and what is in effect."""

from typing import Any

import torch
from lightning.pytorch import Trainer

from strobe.callbacks.position import Position
from strobe.machine.threads import waiting


def effective_settings(trainer: Trainer, position: Position, *, lr: float | None, compiled: bool) -> dict[str, Any]:
    """What Lightning, callbacks and this machine made of the request: ``16-mixed`` on a CPU trains in ``bf16-mixed``.

    Args:
        trainer: As it is now.
        position: Knows how many examples a step takes.
        lr: The learning rate that the schedule starts from; None asks the optimizer that there is.
        compiled: Whether the net is.
    """
    batch_size = position.batch_size
    if lr is None and trainer.optimizers:
        first = trainer.optimizers[0].param_groups[0]
        lr = float(first.get("initial_lr", first["lr"]))
    steps = trainer.world_size * trainer.accumulate_grad_batches
    return {
        "accelerator": trainer.strategy.root_device.type,
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "strategy": _strategy_name(trainer),
        "precision": str(trainer.precision),
        "batch_size_per_device": batch_size,
        "global_batch_size": None if batch_size is None else batch_size * steps,
        "lr": lr,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "threads_wait": waiting(),
        "compile": compiled,
    }


def _strategy_name(trainer: Trainer) -> str:
    """As one would type it; Lightning's DDPStrategy is the one that has no name of its own."""
    strategy = trainer.strategy
    return str(getattr(strategy, "strategy_name", type(strategy).__name__.removesuffix("Strategy").lower()))
