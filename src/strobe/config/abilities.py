"""A config -> what it asks for that this machine, this Lightning or the dataset can't do."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, StrategyRegistry
from omegaconf import DictConfig

from strobe.config.spelling import listed, nearest
from strobe.config.targets import resolve
from strobe.config.tasks import serves_images
from strobe.machine.devices import available_cpus


def machine_problems(cfg: DictConfig) -> Iterator[str]:
    """What this machine or this Lightning can't do."""
    trainer = cfg.trainer
    gpus = torch.cuda.device_count()
    accelerator, devices, strategy = trainer.accelerator, trainer.devices, strategy_name(trainer.strategy)
    accelerators = ["auto", "gpu", *AcceleratorRegistry.available_accelerators()]
    if not isinstance(accelerator, DictConfig) and accelerator not in accelerators:
        yield _unknown("trainer.accelerator", accelerator, accelerators)
        return
    strategies = ["auto", *StrategyRegistry.available_strategies()]
    if strategy not in strategies:
        yield _unknown("trainer.strategy", strategy, strategies)
    if accelerator in ("gpu", "cuda") and gpus == 0 and not torch.backends.mps.is_available():
        yield f"trainer.accelerator={accelerator}: this machine has no GPU that torch can use; choose trainer=cpu"
        return
    on_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and gpus > 0)
    available = gpus if on_gpu else None
    yield from _device_problems(devices, available)
    if str(trainer.precision) in ("16-true", "16") and not on_gpu:
        yield (
            f"trainer.precision={trainer.precision}: half precision alone trains to NaN on a CPU; "
            "choose trainer.precision=bf16-mixed or 32"
        )
    if strategy.startswith("deepspeed"):
        if importlib.util.find_spec("deepspeed") is None:
            yield (
                f"trainer.strategy={strategy}: needs the package deepspeed, which is not installed; "
                "choose trainer.strategy=fsdp"
            )
        elif trainer.enable_checkpointing:
            yield (
                f"trainer.strategy={strategy}: its checkpoints are directories, which can't be tested or resumed here; "
                "choose trainer.strategy=fsdp, or do without: trainer.enable_checkpointing=false"
            )
    if strategy.startswith(("fsdp", "deepspeed")) and str((cfg.optimizer or {}).get("_target_")).endswith(".MuonAdamW"):
        yield (
            f"optimizer=muon: it takes whole matrices, and trainer.strategy={strategy} shares them out among the "
            "GPUs; choose optimizer=adamw or trainer=ddp"
        )
    if strategy.startswith("fsdp") and not on_gpu:
        yield f"trainer.strategy={strategy}: needs GPUs; choose trainer=ddp_cpu for several processes on a CPU"
    processes = devices if type(devices) is int else 1
    if trainer.sync_batchnorm and not on_gpu and processes * trainer.num_nodes > 1:
        yield "trainer.sync_batchnorm=true: torch can synchronize it on GPUs alone; choose model.norm=layer"
    if (cfg.data.get("num_workers") or 0) > 8 * available_cpus():
        yield (
            f"data.num_workers={cfg.data.num_workers}: this machine has {available_cpus()} cores; "
            f"choose at most {8 * available_cpus()}"
        )


def strategy_name(strategy: Any) -> str:
    """How a strategy is called, by which it is known how many processes it takes; that of a node is its kind's."""
    if not isinstance(strategy, Mapping | DictConfig):
        return str(strategy)
    try:
        named = resolve(str(strategy["_target_"]))
    except Exception:  # said by what checks targets
        return "auto"
    for name, kind in (("ddp", DDPStrategy), ("fsdp", FSDPStrategy), ("deepspeed", DeepSpeedStrategy)):
        if isinstance(named, type) and issubclass(named, kind):
            return name
    return "auto"


def _device_problems(devices: Any, available: int | None) -> Iterator[str]:
    if isinstance(devices, str) and devices.lstrip("-").isdigit():
        devices = int(devices)
    many = len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else devices
    if many == "auto" or many == -1:
        return
    if isinstance(devices, str):  # "0,1": Lightning reads a list of indices
        parts = [part.strip() for part in devices.split(",") if part.strip()]
        many = len(parts) if all(part.isdigit() for part in parts) else None
    if type(many) is not int or many < 1:
        yield f"trainer.devices={devices}: must be a whole number of at least 1, -1, a list of indices, or auto"
    elif available is not None and many > available:
        yield f"trainer.devices={devices}: this machine has {available}; choose trainer.devices={available}"


def data_problems(cfg: DictConfig) -> Iterator[str]:
    """What the dataset's size does not allow."""
    if not serves_images(cfg.data):
        return
    dataset = resolve(str(cfg.data.dataset["_target_"]))
    sizes = getattr(dataset, "sizes", None)
    if sizes and cfg.data.val_size >= sizes["train"]:
        yield (
            f"data.val_size={cfg.data.val_size}: {getattr(dataset, 'title', 'the dataset')} has {sizes['train']} "
            f"training images; choose 0 to {sizes['train'] - 1}"
        )


def _unknown(key: str, value: object, options: Sequence[str]) -> str:
    guess = nearest(str(value), options)
    hint = f"did you mean {key}={guess}? There" if guess else "there"
    return f"{key}={value}: no such option; {hint} are: {listed(options)}"
