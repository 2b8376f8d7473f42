"""A batch of images in the size, and with the channels, that a net wants them in."""

import torch.nn.functional as F
from torch import Tensor


class Resize:
    """Scales a batch, whatever its proportions, and repeats gray images where color is wanted.

    For images before their normalization: what a net was trained on says mean and std of three channels.

    Args:
        size: ``(height, width)`` in pixels; None leaves the size alone.
        channels: 3 repeats gray images; None leaves the channels alone.

    Raises:
        ValueError: If a size is no positive whole number, or the channels are none of these.
    """

    def __init__(self, size: tuple[int, int] | None, channels: int | None = None) -> None:
        if size is not None and (len(size) != 2 or not all(type(side) is int and side >= 1 for side in size)):
            raise ValueError(f"size={size!r}: must be (height, width), whole numbers of pixels from 1")
        if channels not in (None, 3):
            raise ValueError(f"channels={channels!r}: must be 3, or None to leave them alone")
        self.size = None if size is None else (size[0], size[1])
        self.channels = channels

    def __call__(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` float in [0, 1] to new ones of the size; what fits already is returned as it is.

        Raises:
            ValueError: If other than gray images would have to get another number of channels.
        """
        if self.size is not None and images.shape[-2:] != self.size:
            # Antialiased, so that a picture made smaller has no pixels left out, as Pillow does it for `predict`.
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        channels = self.shape(tuple(images.shape[1:]))[0]
        # Repeated, not expanded: the normalization that follows works in place.
        return images if channels == images.shape[1] else images.repeat(1, channels, 1, 1)

    def shape(self, in_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The ``(channels, height, width)`` that images of ``in_shape`` get.

        Raises:
            ValueError: If other than gray images would have to get another number of channels.
        """
        channels, height, width = in_shape
        if self.channels not in (None, channels):
            if channels != 1:
                raise ValueError(f"images of {channels} channels: only gray ones can be made to have {self.channels}")
            channels = 3
        return (channels, *(self.size or (height, width)))
