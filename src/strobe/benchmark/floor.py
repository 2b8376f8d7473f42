"""The least that training can take in PyTorch: tensors in memory, a plain loop, a fused optimizer, nothing else."""

import time
from pathlib import Path

import torch
from torch import Tensor, nn

from strobe.benchmark.work import BATCH_SIZE, HIDDEN, LEARNING_RATE, TRAIN_SIZE, work
from strobe.data.idx import MNIST


def load(root: Path, split: str) -> tuple[Tensor, Tensor]:
    """Normalized images ``(N, 1, 28, 28)`` and labels."""
    images, labels = MNIST().load(root, "train" if split == "train" else "test")
    return images.float().div_(255).sub_(MNIST.mean[0]).div_(MNIST.std[0]), labels


def main(root: Path, epochs: int, batches: int) -> None:
    """Train and test; prints the seconds of an epoch and the accuracy."""
    torch.manual_seed(1)
    images, labels = load(root, "train")
    images, labels = images[:TRAIN_SIZE], labels[:TRAIN_SIZE]
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=True)
    began = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(labels)), BATCH_SIZE)[:batches]:
            loss = loss_function(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = (time.perf_counter() - began) / epochs
    images, labels = load(root, "test")
    with torch.no_grad():
        accuracy = (net(images).argmax(1) == labels).double().mean().item()
    print(f"{seconds:.3f} s/epoch, test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main(*work())
