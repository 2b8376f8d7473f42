"""What a command asked for, and what is in effect."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf


def requested_and_effective(cfg: DictConfig, trainer: Trainer) -> dict[str, dict[str, Any]]:
    """What the command asked for, and what Lightning made of it: ``16-mixed`` on a CPU trains in ``bf16-mixed``."""
    batch_size = int(cfg.data.batch_size)
    accumulate = trainer.accumulate_grad_batches
    requested = {key: cfg.trainer[key] for key in ("accelerator", "devices", "num_nodes", "strategy", "precision")}
    effective = {
        "accelerator": trainer.strategy.root_device.type,
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "strategy": _strategy_name(trainer),
        "precision": str(trainer.precision),
        "batch_size_per_device": batch_size,
        "global_batch_size": batch_size * trainer.world_size * accumulate,
        "lr": cfg.optimizer.lr * (trainer.world_size if cfg.scale_lr else 1),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "compile": bool(cfg.compile),
    }
    return {"requested": OmegaConf.to_container(OmegaConf.create(requested)), "effective": effective}  # type: ignore[dict-item]


def _strategy_name(trainer: Trainer) -> str:
    """As one would type it; Lightning's DDPStrategy is the one that has no name of its own."""
    strategy = trainer.strategy
    return str(getattr(strategy, "strategy_name", type(strategy).__name__.removesuffix("Strategy").lower()))
