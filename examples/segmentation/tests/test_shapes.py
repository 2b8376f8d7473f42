"""What the figures of this project rest on."""

import pytest
import torch
from shapes.data import CLASSES, Shapes, ShapesDataModule, draw
from shapes.net import UNet
from shapes.task import Segmentation


class AsGiven(torch.nn.Module):
    """Says of each pixel what the picture holds there."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return 100.0 * torch.nn.functional.one_hot(pictures[:, 0].long(), len(CLASSES)).movedim(-1, 1).float()


def test_a_picture_follows_from_its_number() -> None:
    (picture, labels), (again, _), (other, _) = draw(3), draw(3), draw(4)
    assert torch.equal(picture, again)
    assert not torch.equal(picture, other)
    assert labels.unique().tolist()[0] == 0
    assert labels.max() < len(CLASSES)


def test_splits_share_no_picture() -> None:
    data = ShapesDataModule(train_size=20, val_size=10, test_size=10)
    for stage in ("fit", "test"):
        data.setup(stage)
    pictures = {
        split: {picture.numpy().tobytes() for picture, _ in each.pictures} for split, each in data.splits.items()
    }
    assert sum(map(len, pictures.values())) == len(set.union(*pictures.values())) == 40


def test_labels_are_flipped_with_their_picture() -> None:
    picture, labels = draw(0)
    flipped, its_labels = next(
        each for each in map(Shapes(range(1), flip=True).__getitem__, [0] * 50) if not torch.equal(each[0], picture)
    )
    assert torch.equal(flipped, picture.flip(-1))
    assert torch.equal(its_labels, labels.flip(-1))


@pytest.mark.parametrize("size", [4, 12, 32])
def test_the_net_gives_every_pixel_logits(size: int) -> None:
    assert UNet((1, size, size), num_classes=4)(torch.zeros(2, 1, size, size)).shape == (2, 4, size, size)


def test_iou_is_that_of_all_pixels_together() -> None:
    labels = torch.zeros(2, 2, 2, dtype=torch.long)
    labels[0, 0, 0] = labels[1] = 1  # circles: 5 pixels
    said = torch.zeros(2, 1, 2, 2)
    said[1] = 1  # 4 of them are found
    task = Segmentation(AsGiven())
    values = task.step((said, labels))
    means = {name: value.double().mean().item() for name, value in values.items()}
    logged = task.summarize(means)
    assert logged["iou_circle"] == pytest.approx(4 / 5)
    assert logged["iou_background"] == pytest.approx(3 / 4)
    assert logged["iou"] == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert logged["pixel_acc"] == pytest.approx(7 / 8)
    assert "iou_square" not in logged, "there is none, and none is said to be"
