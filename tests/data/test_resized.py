"""Batches in the size and with the channels that a net wants."""

import numpy as np
import pytest
import torch
from PIL import Image

from strobe.data.resized import Resize


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (5, 9), (64, 48)])
@pytest.mark.parametrize(("channels", "wanted"), [(1, None), (1, 3), (3, 3), (2, None)])
def test_a_batch_gets_the_size_and_channels_that_were_told_beforehand(
    size: tuple[int, int], channels: int, wanted: int | None
) -> None:
    resize = Resize(size, wanted)
    images = torch.rand(2, channels, 28, 28)
    resized = resize(images)
    assert resized.shape[1:] == resize.shape((channels, 28, 28)) == (wanted or channels, *size)
    assert resized.min() >= 0
    assert resized.max() <= 1
    resized.sub_(1)  # the normalization works in place: repeated channels must not share their memory


def test_images_that_fit_already_are_left_alone() -> None:
    images = torch.rand(2, 3, 28, 28)
    assert Resize((28, 28), 3)(images) is images
    assert Resize(None)(images) is images


@pytest.mark.parametrize("size", [(9, 7), (60, 90)])
def test_training_images_are_scaled_as_the_pictures_of_predict_are(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30), dtype=np.uint8)
    pillows = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))
    ours = Resize(size)(torch.tensor(pixels).float()[None, None] / 255)[0, 0].numpy() * 255
    assert np.abs(ours - pillows).max() < 1.5  # Pillow rounds after each axis


@pytest.mark.parametrize("size", [(0, 3), (3,), (3, 3, 3), (2.5, 3), (True, 3)])
def test_a_size_that_is_none_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="height, width"):
        Resize(size)


def test_only_gray_images_are_given_other_channels() -> None:
    with pytest.raises(ValueError, match="must be 3"):
        Resize(None, 4)
    with pytest.raises(ValueError, match="of 2 channels"):
        Resize(None, 3)(torch.rand(1, 2, 4, 4))
