"""A hand-written loop for any of the nets, on the device, in mixed precision if asked; prints each epoch's seconds."""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from strobe.benchmark.floor import load
from strobe.config.compose import composed
from strobe.run.parts import net_for


@dataclass(frozen=True)
class Work:
    """What is trained, and how far, as the command line says: MNIST in the memory of the device.

    Each iteration is an epoch of batches, in an order of its own.

    Attributes:
        net: For logits ``(N, 10)``.
        images: ``(60000, 1, 28, 28)``, normalized.
        labels: ``(60000,)``.
        batch_size: Pictures of a step.
        precision: ``32``, ``16-mixed`` or ``bf16-mixed``; the second is the third on a CPU, as for Lightning.
        epochs: How many.
        batches: Of an epoch.
    """

    net: nn.Module
    images: Tensor
    labels: Tensor
    batch_size: int
    precision: str
    epochs: int
    batches: int

    @classmethod
    def typed(cls) -> "Work":
        """What a subject of `strobe.benchmark.throughput.steps` was told."""
        parser = argparse.ArgumentParser(allow_abbrev=False)
        parser.add_argument("root", type=Path)
        parser.add_argument("model")
        parser.add_argument("batch_size", type=int)
        parser.add_argument("precision")
        parser.add_argument("epochs", type=int)
        parser.add_argument("batches", type=int)
        given = parser.parse_args()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu":
            # The nets come with Lightning, which makes each step of an optimizer ask the driver for a GPU. As in a run
            # of the framework, it is told that there is none: a loop is to be as fast as one that a person writes.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        mixed = "bf16-mixed" if device.type == "cpu" and given.precision == "16-mixed" else given.precision
        torch.manual_seed(1)
        images, labels = (tensor.to(device) for tensor in load(given.root, "train"))
        net = net_for(composed([f"model={given.model}"]), {"in_shape": (1, 28, 28), "num_classes": 10})
        assert net is not None, "a shipped model"
        return cls(net.to(device), images, labels, given.batch_size, mixed, given.epochs, given.batches)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.labels), device=self.labels.device)
        for rows in torch.split(order, self.batch_size)[: self.batches]:
            yield self.images[rows], self.labels[rows]

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam in one kernel."""
        return torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)


def main(work: Work) -> None:
    """Train, and measure."""
    device = work.labels.device.type
    dtype = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(work.precision)
    loss_function = nn.CrossEntropyLoss()
    optimizer = work.optimizer()
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)
    seconds = []
    for _ in range(work.epochs):
        began = time.perf_counter()
        for images, labels in work:
            with nullcontext() if dtype is None else torch.autocast(device, dtype):
                loss = loss_function(work.net(images), labels)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Work.typed())
