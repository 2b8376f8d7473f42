"""What a command asked for, and what is in effect."""

from typing import Any

import torch
from lightning.pytorch import Trainer


def effective_settings(trainer: Trainer, *, batch_size: int, lr: float, compiled: bool) -> dict[str, Any]:
    """What Lightning, callbacks and this machine made of the request: ``16-mixed`` on a CPU trains in ``bf16-mixed``.

    Args:
        trainer: As it is now.
        batch_size: Images per device and step.
        lr: The learning rate that the schedule starts from.
        compiled: Whether the net is.
    """
    return {
        "accelerator": trainer.strategy.root_device.type,
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "strategy": _strategy_name(trainer),
        "precision": str(trainer.precision),
        "batch_size_per_device": batch_size,
        "global_batch_size": batch_size * trainer.world_size * trainer.accumulate_grad_batches,
        "lr": lr,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "compile": compiled,
    }


def _strategy_name(trainer: Trainer) -> str:
    """As one would type it; Lightning's DDPStrategy is the one that has no name of its own."""
    strategy = trainer.strategy
    return str(getattr(strategy, "strategy_name", type(strategy).__name__.removesuffix("Strategy").lower()))
