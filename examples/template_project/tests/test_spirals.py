"""What this project promises itself; none of it trains."""

from functools import partial

import torch
from src.data.spirals_datamodule import SpiralsDataModule, spirals
from src.models.components.dense_net import DenseNet
from src.models.spirals_module import SpiralsModule


def test_the_splits_are_the_same_every_time_and_share_no_point() -> None:
    first, second = SpiralsDataModule(), SpiralsDataModule()
    for data in (first, second):
        data.setup("fit")
    assert first.data_train.indices == second.data_train.indices
    every = [*first.data_train.indices, *first.data_val.indices, *first.data_test.indices]
    assert sorted(every) == list(range(3_000))


def test_every_arm_has_as_many_points_and_ends_on_the_circle() -> None:
    points, labels = spirals(3_000, arms=3, noise=0.0, seed=0).tensors
    assert points.norm(dim=1).max() <= 1
    assert labels.bincount().tolist() == [1_000, 1_000, 1_000]


def test_a_step_gives_a_loss_and_a_class_for_each_point() -> None:
    module = SpiralsModule(DenseNet(), partial(torch.optim.Adam, lr=0.1), None, compile=False)
    loss, preds, targets = module.model_step((torch.randn(8, 2), torch.zeros(8, dtype=torch.long)))
    assert loss.ndim == 0
    assert preds.shape == targets.shape == (8,)
