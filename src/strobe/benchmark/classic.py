"""The classic first script: torchvision's dataset, its transforms image by image, a DataLoader, a plain loop."""

import time
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from strobe.benchmark.work import BATCH_SIZE, EVAL_BATCH_SIZE, HIDDEN, LEARNING_RATE, MEAN, STD, TRAIN_SIZE, work


def main(root: Path, epochs: int, batches: int) -> None:
    """Train and test; prints the seconds of an epoch and the accuracy."""
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    train = Subset(datasets.MNIST(root, train=True, transform=transform), range(TRAIN_SIZE))
    test = datasets.MNIST(root, train=False, transform=transform)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    began = time.perf_counter()
    for _ in range(epochs):
        for images, labels in islice(DataLoader(train, batch_size=BATCH_SIZE, shuffle=True), batches):
            loss = loss_function(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = (time.perf_counter() - began) / epochs
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=EVAL_BATCH_SIZE):
            correct += int((net(images).argmax(1) == labels).sum())
    print(f"{seconds:.3f} s/epoch, test accuracy {correct / len(test):.4f}")


if __name__ == "__main__":
    main(*work())
