"""A hand-written loop for any of the nets, on the device, in mixed precision if asked; prints each epoch's seconds."""

import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from strobe.benchmark.floor import load
from strobe.config.compose import composed
from strobe.run.parts import net_for


def main(root: Path, model: str, batch_size: int, precision: str, epochs: int, batches: int) -> None:
    """Train with everything in the device's memory and one fused optimizer, and measure."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        # The nets come with Lightning, which makes each step of an optimizer ask the driver for a GPU. As in a run of
        # the framework, it is told that there is none: this loop is to be as fast as one that a person writes.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if device.type == "cpu" and precision == "16-mixed":
        precision = "bf16-mixed"  # as Lightning does
    dtype = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(precision)
    torch.manual_seed(1)
    images, labels = (tensor.to(device) for tensor in load(root, "train"))
    made = net_for(composed([f"model={model}"]), {"in_shape": (1, 28, 28), "num_classes": 10})
    assert made is not None, "a shipped model"
    net = made.to(device)
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        for rows in torch.split(torch.randperm(len(labels), device=device), batch_size)[:batches]:
            with nullcontext() if dtype is None else torch.autocast(device.type, dtype):
                loss = loss_function(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        loss.item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))
