"""FSDP on a CPU, which torch can do and Lightning refuses: shards, gathers and checkpoints are the real ones."""

from typing import Any
from unittest import mock

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn import Module


class FsdpOnCpu(FSDPStrategy):
    """Tells torch the device, which Lightning names by the number of a GPU."""

    def _setup_model(self, model: Module) -> Module:
        make = FullyShardedDataParallel.__init__

        def on_cpu(*args: Any, **kwargs: Any) -> None:
            make(*args, **kwargs | {"device_id": torch.device("cpu")})

        with mock.patch.object(FullyShardedDataParallel, "__init__", on_cpu):
            return super()._setup_model(model)


class TrainerWithFsdp(Trainer):
    """Takes `FsdpOnCpu`, whatever the config names."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments | {"strategy": FsdpOnCpu()})
