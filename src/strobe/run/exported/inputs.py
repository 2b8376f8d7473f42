"""What an exported net and the trained one are compared on: pictures of the test set, or random inputs."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from strobe.config.saved import saved_config
from strobe.config.targets import problems_with_targets
from strobe.config.tasks import serves_images
from strobe.data.datamodule import ImageDataModule
from strobe.record.config_file import read_config
from strobe.run.parts import build_data
from strobe.run.saved import SavedNet

COUNT = 256


@dataclass(frozen=True)
class Inputs:
    """So many inputs of one net.

    Attributes:
        kind: What they are, such as ``test images``.
        normalized: As the trained net takes them, ``(N, *shape)``.
        pixels: The same pictures as the data set keeps them, ``(N, *stored_shape)`` uint8; None if they are none.
    """

    kind: str
    normalized: Tensor
    pixels: Tensor | None = None


def inputs_for(net: SavedNet, test_pictures: Tensor | None = None) -> Inputs:
    """Those to compare on: test images where they are given, else random ones, always the same.

    Args:
        net: What takes them.
        test_pictures: From `pictures_at_hand`.
    """
    if takes_pixels(net):
        assert net.stored_shape is not None, "that is what was asked"
        pixels = test_pictures
        if pixels is None:
            pixels = torch.randint(0, 256, (COUNT, *net.stored_shape), generator=_random(), dtype=torch.uint8)
            if net.preparation == "centred_digit":  # of noise alone nobody knows where the digit is
                pixels = F.pad(pixels[..., 4:-4, 4:-4], (4, 4, 4, 4))
        kind = "random images" if test_pictures is None else "test images"
        return Inputs(kind, net.normalized(pixels), pixels)
    if net.example is None:
        return Inputs("random inputs", torch.randn(COUNT, *net.shape, generator=_random()))
    example = net.example[:1]
    copies = example.repeat(COUNT, *[1] * (example.ndim - 1))
    if example.is_floating_point():
        drawn = copies + torch.randn(copies.shape, generator=_random()).to(copies.dtype)
    elif example.dtype == torch.bool or not example.numel():
        drawn = copies
    else:  # words of a vocabulary, for example: others than those that it shows may not be there
        low, high = int(example.min()), int(example.max())
        drawn = torch.randint(low, high + 1, copies.shape, generator=_random()).to(copies.dtype)
    with torch.no_grad():
        output = net.net(drawn[:1])
    if isinstance(output, Tensor) and not bool(output.isfinite().all()):  # it takes no numbers below 0, perhaps
        drawn = copies
    return Inputs("copies of the example" if drawn is copies else "random inputs", drawn)


def takes_pixels(net: SavedNet) -> bool:
    """Whether it is known how pictures of 0 to 255 become what the net takes."""
    return (
        net.stored_shape is not None and bool(net.mean) and len(net.shape) == 3
    )  # not the numbers a picture is made of


def pictures_at_hand(directory: Path, net: SavedNet) -> Tensor | None:
    """The first `COUNT` test images of a run's data, ``(N, *stored_shape)`` uint8; nothing is downloaded for them.

    Args:
        directory: The run directory.
        net: Its net.

    Returns:
        None where they are not there, of another shape by now, or another kind of data, or the config is a stranger's.
    """
    if not takes_pixels(net):
        return None
    try:
        if not read_config(directory).own:  # a stranger's says where files are to be read
            return None
        cfg = saved_config(directory, parts=["data", "seed"])
        sound = not problems_with_targets(cfg)  # before anything that it names is called
        data = build_data(cfg) if sound and serves_images(cfg.data) else None
        if not isinstance(data, ImageDataModule):
            return None
        images, _ = data.dataset.load(data.root, "test")
        pictures = images[:COUNT].clone()
    except Exception:  # anyone's data set may raise anything: then it is compared on something else, and that is said
        return None
    fits = pictures.dtype == torch.uint8 and tuple(pictures.shape[1:]) == net.stored_shape
    return pictures if fits and len(pictures) else None


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(0)
