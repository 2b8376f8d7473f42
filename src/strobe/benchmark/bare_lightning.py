"""Lightning's Trainer with all that can be switched off off: what a step in Lightning takes at the least."""

import json
import logging
import time
import warnings
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from strobe.benchmark.loop import Work


class Bare(lightning.LightningModule):
    """A net and its loss; nothing is measured of it but time.

    Args:
        work: What is trained.
    """

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.net = work.net
        self.loss_function = nn.CrossEntropyLoss()
        self.seconds: list[float] = []
        self._work = work

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Loss of a batch."""
        images, labels = batch
        return cast(Tensor, self.loss_function(self.net(images), labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same as that of the hand-written loop."""
        return self._work.optimizer()

    def on_train_epoch_start(self) -> None:
        """Take the time."""
        self._began = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Take it again, once the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds.append(time.perf_counter() - self._began)


def main(work: Work) -> None:
    """Train, and measure."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    trainer = lightning.Trainer(
        max_epochs=work.epochs,
        accelerator="gpu" if work.labels.is_cuda else "cpu",
        devices=1,
        precision=cast(Any, work.precision),  # a type of Lightning's own
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    bare = Bare(work)
    trainer.fit(bare, work)
    print(json.dumps(bare.seconds))


if __name__ == "__main__":
    main(Work.typed())
