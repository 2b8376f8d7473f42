"""A net that ends its process in any way a job can end."""

import ctypes
import os
import signal
import sys

import torch
from torch import Tensor

from strobe.machine.rank import process_rank
from strobe.models.simple_nn import SimpleNN


class Misbehaving(SimpleNN):
    """A SimpleNN that does ``how`` in its third training batch."""

    def __init__(
        self, *, in_shape: tuple[int, int, int], num_classes: int, how: str = "nothing", rank: int = 0
    ) -> None:
        super().__init__(in_shape=in_shape, num_classes=num_classes, hidden=16)
        self.how = how if process_rank() == rank else "nothing"
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        self.calls += self.training
        if not self.training or self.calls != 3:
            return logits
        match self.how:
            case "raise":
                raise RuntimeError("the net is broken")
            case "exit":
                sys.exit(0)
            case "os_exit":
                os._exit(0)
            case "segfault":
                ctypes.string_at(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "term":
                os.kill(os.getpid(), signal.SIGTERM)
            case "not_a_number":
                return logits * float("nan")
            case "oom":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            case "memory":
                raise RuntimeError(
                    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
                )
        return logits
