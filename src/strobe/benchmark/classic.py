"""The classic first script: torchvision's dataset, its transforms image by image, a DataLoader, a plain loop."""

import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from strobe.benchmark.floor import BATCH_SIZE, EPOCHS, TRAIN_SIZE


def main(root: Path, epochs: int) -> None:
    """Train and test; prints the seconds of an epoch and the accuracy."""
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = Subset(datasets.MNIST(root, train=True, transform=transform), range(TRAIN_SIZE))
    test = datasets.MNIST(root, train=False, transform=transform)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    began = time.perf_counter()
    for _ in range(epochs):
        for images, labels in DataLoader(train, batch_size=BATCH_SIZE, shuffle=True):
            loss = loss_function(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = (time.perf_counter() - began) / epochs
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=1000):
            correct += int((net(images).argmax(1) == labels).sum())
    print(f"{seconds:.3f} s/epoch, test accuracy {correct / len(test):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else EPOCHS)
