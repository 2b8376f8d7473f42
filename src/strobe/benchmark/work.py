"""The work that every subject of a comparison does: what the default config trains and tests; needs no torch."""

import argparse
from pathlib import Path

EPOCHS, BATCH_SIZE, EVAL_BATCH_SIZE = 5, 64, 1000
TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 55_000, 5_000, 10_000
"""Of MNIST's 60,000 training images, those that are trained on and those that validate; and its test images."""

BATCHES = -(-TRAIN_SIZE // BATCH_SIZE)
"""Of an epoch."""

HIDDEN = 128
"""Units of SimpleNN's hidden layer."""

LEARNING_RATE = 1e-3
MEAN, STD = 0.1307, 0.3081
"""Of the training images' pixels."""


def work() -> tuple[Path, int, int]:
    """What a subject was told on its command line.

    Returns:
        Where MNIST is, how many epochs to train, and how many batches in each.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("root", type=Path)
    parser.add_argument("epochs", type=int, nargs="?", default=EPOCHS)
    parser.add_argument("batches", type=int, nargs="?", default=BATCHES)
    given = parser.parse_args()
    return given.root, given.epochs, given.batches
