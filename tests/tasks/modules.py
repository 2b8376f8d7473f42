"""LightningModules and LightningDataModules as users write them, for the tests of what they are promised."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from strobe.tasks import Task


def examples(size: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(size, 4, generator=torch.Generator().manual_seed(seed))
    return x, x.sum(dim=1)


class Sums(LightningDataModule):
    """Four numbers, and their sum."""

    def __init__(self, batch_size: int = 20, size: int = 200) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.size = size

    def facts(self) -> dict[str, Any]:
        return {"in_shape": (4,), "num_classes": 1, "secret_of_the_data": 7}

    def loader(self, size: int, seed: int, **settings: Any) -> DataLoader[Any]:
        return DataLoader(TensorDataset(*examples(size, seed)), batch_size=self.batch_size, **settings)

    def train_dataloader(self) -> Any:
        return self.loader(self.size, 0, shuffle=True)

    def val_dataloader(self) -> Any:
        return self.loader(64, 1)

    def test_dataloader(self) -> Any:
        return self.loader(64, 2)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(*examples(200, 0), strict=True))


class Streamed(Sums):
    """The same from a stream, which can't be taken up within an epoch."""

    def train_dataloader(self) -> Any:
        return DataLoader(Stream(), batch_size=self.batch_size)


class PartlyKnown(Sums):
    """Small images of three classes; of most of those that are tested the class is not known, which is -100."""

    def facts(self) -> dict[str, Any]:
        return {"in_shape": (1, 8, 8), "num_classes": 3, "classes": np.array(["a", "b", "c"])}

    def loader(self, size: int, seed: int, **settings: Any) -> DataLoader[Any]:
        images = torch.randn(size, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        labels = torch.arange(size) % 3
        if seed == 2:
            labels[10:] = -100
        return DataLoader(TensorDataset(images, labels), batch_size=self.batch_size, **settings)


class Untested(Sums):
    """The sums, of which there are none to test on."""

    def test_dataloader(self) -> Any:
        return self.loader(0, 2)


class Own(LightningModule):
    """As people write them: an optimizer of its own, metrics by its own names."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(4, 1)
        self.lr = lr

    def loss(self, batch: Any) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.layer(x).squeeze(1), y)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class WithoutOptimizer(Own):
    """Leaves the optimizer to the config."""

    configure_optimizers = LightningModule.configure_optimizers  # type: ignore[assignment]


class ByHand(Own):
    """Two optimizers, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.second = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        for optimizer, layer in zip(self.optimizers(), (self.layer, self.second), strict=True):  # type: ignore[arg-type]
            x, y = batch
            loss = nn.functional.mse_loss(layer(x).squeeze(1), y)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        self.log("train_loss", loss, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        return [torch.optim.Adam(layer.parameters(), lr=0.05) for layer in (self.layer, self.second)]


class Given(LightningModule):
    """Keeps what it was given, to be looked at."""

    given: ClassVar[dict[str, Any]] = {}

    def __init__(self, net: nn.Module, loss: nn.Module, monitor: str, secret_of_the_data: int, own: int = 3) -> None:
        super().__init__()
        self.net = net
        self.criterion = loss
        type(self).given = {"net": net, "loss": loss, "monitor": monitor, "fact": secret_of_the_data, "own": own}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss: Tensor = self.criterion(self.net(x).squeeze(1), y)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss


class Guess(Task):
    """One method, and a ratio of means."""

    metrics: ClassVar[Any] = {"loss": "min", "error": "min", "share": "max"}

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def step(self, batch: Any) -> dict[str, Any]:
        x, y = batch
        guess = self.net(x).squeeze(1)
        return {
            "loss": nn.functional.mse_loss(guess, y),
            "error": (guess - y).abs(),
            "hits": (guess.sign() == y.sign()),
            "preds": guess,
            "target": y,
        }

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        return {"loss": means["loss"], "error": means["error"], "share": means["hits"]}


class GuessTwice(Guess):
    """Goes through each batch twice as it tests."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self.step(batch)
        return super().test_step(batch, batch_idx, dataloader_idx)


class GuessElsewhere(Guess):
    """Tests without its step."""

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self.log("test/error", (self.net(batch[0]).squeeze(1) - batch[1]).abs().mean())


class Rate(nn.Module):
    """A loss with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return (predictions * self.scale - targets).square().mean()


class Counted:
    """A loader with a state: it knows how many of its batches have been given."""

    def __init__(self, batch_size: int) -> None:
        self.batches = list(zip(*(part.split(batch_size) for part in examples(200, 0)), strict=True))
        self.given = self.first = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        self.given, self.first = self.first, 0
        for batch in self.batches[self.given :]:
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first = state["given"]


class WithState(Sums):
    """The same from such a loader."""

    def train_dataloader(self) -> Any:
        return Counted(self.batch_size)


class Transformed(Sums):
    """The same, with noise drawn for each example from the generator that the net draws from too."""

    def train_dataloader(self) -> Any:
        x, y = examples(self.size, 0)
        return DataLoader(Noisy(x, y), batch_size=self.batch_size, shuffle=True)


class Noisy(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        return x + 0.1 * torch.randn(4), y
