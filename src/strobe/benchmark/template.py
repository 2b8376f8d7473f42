"""How the usual template of Lightning and Hydra trains: everything instantiated from configs, torchmetrics, rich."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets, transforms

from strobe.benchmark.work import MEAN, STD, TRAIN_SIZE, VAL_SIZE

Batch = tuple[Tensor, Tensor]
_CONF = Path(__file__).parent / "template_conf"


class Digits(lightning.LightningDataModule):
    """MNIST by torchvision, image by image.

    Args:
        root: Where it is.
        batch_size: In training.
        eval_batch_size: In validation and test.
        num_workers: Of each loader.
        pin_memory: Of each loader.
    """

    def __init__(self, root: str, batch_size: int, eval_batch_size: int, num_workers: int, pin_memory: bool) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.root, self.batch_size, self.eval_batch_size = root, batch_size, eval_batch_size
        self.how: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pin_memory}
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])

    def prepare_data(self) -> None:
        """See that the files are there."""
        for train in (True, False):
            datasets.MNIST(self.root, train=train, download=True)

    def setup(self, stage: str) -> None:
        """Split them."""
        if hasattr(self, "train"):
            return
        seen = datasets.MNIST(self.root, train=True, transform=self.transform)
        self.train, self.val = random_split(seen, [TRAIN_SIZE, VAL_SIZE], torch.Generator().manual_seed(42))
        self.test = datasets.MNIST(self.root, train=False, transform=self.transform)

    def train_dataloader(self) -> DataLoader[Batch]:
        """In a new order each epoch."""
        return self._loader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """In order."""
        return self._loader(self.val, self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """In order."""
        return self._loader(self.test, self.eval_batch_size)

    def _loader(self, data: Dataset[Batch], batch_size: int, shuffle: bool = False) -> DataLoader[Batch]:
        return DataLoader(data, batch_size=batch_size, shuffle=shuffle, **self.how)


class Classifier(lightning.LightningModule):
    """A classifier with its means and its best accuracy as metrics.

    Args:
        net: Maps images to logits.
        optimizer: Makes one of parameters.
        scheduler: Makes one of an optimizer.
    """

    def __init__(
        self, net: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], scheduler: Callable[..., Any]
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net"])
        self.net, self.optimizer, self.scheduler = net, optimizer, scheduler
        self.criterion = nn.CrossEntropyLoss()
        self.losses = nn.ModuleDict({f"{split}_": MeanMetric() for split in ("train", "val", "test")})
        self.accuracies = nn.ModuleDict(
            {f"{split}_": MulticlassAccuracy(10, average="micro") for split in ("train", "val", "test")}
        )
        self.best = MaxMetric()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.net(images)
        return logits

    def on_train_start(self) -> None:
        """Forget what a sanity check has measured."""
        metrics: list[Any] = [self.losses["val_"], self.accuracies["val_"], self.best]
        for metric in metrics:
            metric.reset()

    def _look(self, batch: Batch, split: str) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss: Tensor = self.criterion(logits, labels)
        mean: Any = self.losses[f"{split}_"]
        accuracy: Any = self.accuracies[f"{split}_"]
        mean(loss)
        accuracy(logits.argmax(1), labels)
        self.log(f"{split}/loss", mean, on_step=False, on_epoch=True, prog_bar=True)
        self.log(f"{split}/acc", accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: Batch) -> Tensor:
        """Loss of a batch."""
        return self._look(batch, "train")

    def validation_step(self, batch: Batch) -> None:
        """Measure."""
        self._look(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log the best accuracy so far."""
        accuracy: Any = self.accuracies["val_"]
        self.best(accuracy.compute())
        self.log("val/acc_best", self.best.compute(), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Batch) -> None:
        """Measure."""
        self._look(batch, "test")

    def configure_optimizers(self) -> Any:
        """The two, the second watching the loss of the validation."""
        optimizer = self.optimizer(params=self.parameters())
        scheduler = {"scheduler": self.scheduler(optimizer=optimizer), "monitor": "val/loss"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def _made(group: DictConfig) -> list[Any]:
    return [instantiate(part) for part in group.values()]


def hyperparameters(cfg: DictConfig, net: nn.Module, loggers: Iterable[Logger]) -> None:
    """Send the config and the size of the net to all loggers."""
    count = sum(parameter.numel() for parameter in net.parameters())
    chosen: Any = OmegaConf.to_container(cfg)
    for logger in loggers:
        logger.log_hyperparams({**chosen, "parameters": count})


@hydra.main(version_base="1.3", config_path=str(_CONF), config_name="train")
def main(cfg: DictConfig) -> None:
    """Train, and test the best checkpoint."""
    warnings.filterwarnings("ignore")  # that workers would be faster: they are not, for MNIST
    lightning.seed_everything(cfg.seed, workers=True)
    data, module = instantiate(cfg.data), instantiate(cfg.model)
    loggers = _made(cfg.logger)
    trainer = instantiate(cfg.trainer, callbacks=_made(cfg.callbacks), logger=loggers)
    hyperparameters(cfg, module, loggers)
    trainer.fit(model=module, datamodule=data)
    # The checkpoint holds the optimizer's partial, among the hyperparameters: a class, which is trusted here.
    trainer.test(
        model=module, datamodule=data, ckpt_path=trainer.checkpoint_callback.best_model_path, weights_only=False
    )


if __name__ == "__main__":
    main()
