"""Points on spirals in the plane, one spiral for each class."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


def spirals(points: int, arms: int, noise: float, seed: int) -> TensorDataset:
    """Points that wind outwards, ``(points, 2)`` float32, and the arm of each, ``(points,)`` int64.

    Args:
        points: How many, on all arms together.
        arms: Number of spirals.
        noise: Standard deviation of a point's place; an arm is about 1 long.
        seed: Another one gives other points.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(points) % arms
    radius = 0.1 + 0.9 * torch.rand(points, generator=generator)
    angle = 2 * math.pi * (radius + labels / arms)
    places = torch.stack([angle.cos(), angle.sin()], dim=1) * radius[:, None]
    return TensorDataset(places + noise * torch.randn(points, 2, generator=generator), labels)


class SpiralsDataModule(LightningDataModule):
    """Spirals, split into training, validation and test.

    Args:
        points: How many, all together.
        arms: Number of classes.
        noise: Standard deviation of a point's place.
        train_val_test_split: How many of the points each split gets.
        batch_size: Points per step, over all devices.
        num_workers: Processes that fetch them.
        pin_memory: Whether batches are put where a GPU fetches them faster.
    """

    def __init__(
        self,
        points: int = 3_000,
        arms: int = 3,
        noise: float = 0.03,
        train_val_test_split: tuple[int, int, int] = (2_000, 500, 500),
        batch_size: int = 64,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_train: Dataset[Any] | None = None
        self.data_val: Dataset[Any] | None = None
        self.data_test: Dataset[Any] | None = None
        self.batch_size_per_device = batch_size

    @property
    def num_classes(self) -> int:
        """One for each spiral."""
        return int(self.hparams.arms)

    def prepare_data(self) -> None:
        """Nothing is fetched: the points are computed."""

    def setup(self, stage: str | None = None) -> None:
        """Compute and split the points, once.

        Raises:
            RuntimeError: If a batch can't be shared evenly by the devices.
        """
        if self.trainer is not None:
            if self.hparams.batch_size % self.trainer.world_size:
                raise RuntimeError(f"{self.hparams.batch_size} points can't be shared by {self.trainer.world_size}")
            self.batch_size_per_device = self.hparams.batch_size // self.trainer.world_size
        if self.data_train is None:
            points = spirals(self.hparams.points, self.hparams.arms, self.hparams.noise, seed=0)
            self.data_train, self.data_val, self.data_test = random_split(
                points, self.hparams.train_val_test_split, generator=torch.Generator().manual_seed(42)
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled."""
        return self._loader(self.data_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return self._loader(self.data_val)

    def test_dataloader(self) -> DataLoader[Any]:
        """In order."""
        return self._loader(self.data_test)

    def _loader(self, dataset: Dataset[Any] | None, *, shuffle: bool = False) -> DataLoader[Any]:
        assert dataset is not None, "setup comes first"
        return DataLoader(
            dataset,
            batch_size=self.batch_size_per_device,
            num_workers=self.hparams.num_workers,
            pin_memory=self.hparams.pin_memory,
            shuffle=shuffle,
        )
