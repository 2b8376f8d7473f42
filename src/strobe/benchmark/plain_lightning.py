"""Plain Lightning as its first tutorials have it: a module, DataLoaders over torchvision, `self.log` on every step."""

import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, transforms

from strobe.benchmark.work import (
    BATCH_SIZE,
    EVAL_BATCH_SIZE,
    HIDDEN,
    LEARNING_RATE,
    MEAN,
    STD,
    TRAIN_SIZE,
    VAL_SIZE,
    work,
)

Batch = tuple[Tensor, Tensor]


class Classifier(lightning.LightningModule):
    """The net with its loss, its accuracy and its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
        self.loss_function = nn.CrossEntropyLoss()

    def _look(self, batch: Batch, split: str, *, by_step: bool = False) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        loss: Tensor = self.loss_function(logits, labels)
        self.log(f"{split}/loss", loss, on_step=by_step, on_epoch=True, prog_bar=True)
        accuracy = (logits.argmax(1) == labels).float().mean()
        self.log(f"{split}/acc", accuracy, on_step=by_step, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: Batch) -> Tensor:
        """Loss of a batch, logged by step and by epoch."""
        return self._look(batch, "train", by_step=True)

    def validation_step(self, batch: Batch) -> None:
        """Log loss and accuracy."""
        self._look(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log loss and accuracy."""
        self._look(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)


def main(root: Path, epochs: int, batches: int) -> None:
    """Train, validate after each epoch, test the best epoch; everything goes below the working directory."""
    warnings.filterwarnings("ignore", module="lightning")  # that workers would be faster: they are not, for MNIST
    lightning.seed_everything(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    train, val = random_split(datasets.MNIST(root, train=True, transform=transform), [TRAIN_SIZE, VAL_SIZE])
    test = datasets.MNIST(root, train=False, transform=transform)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        limit_train_batches=batches,
        callbacks=[ModelCheckpoint(monitor="val/acc", mode="max", save_last=True)],
        logger=[TensorBoardLogger("."), CSVLogger(".")],
    )
    trainer.fit(
        Classifier(),
        DataLoader(train, batch_size=BATCH_SIZE, shuffle=True),
        DataLoader(val, batch_size=EVAL_BATCH_SIZE),
    )
    trainer.test(dataloaders=DataLoader(test, batch_size=EVAL_BATCH_SIZE), ckpt_path="best", weights_only=True)


if __name__ == "__main__":
    main(*work())
