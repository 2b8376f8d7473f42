"""Random changes to a batch of images, on the device that holds it, drawn anew for every image."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from strobe.data.loaders import Augmentation, Batch


class Compose:
    """Several augmentations, one after the other."""

    def __init__(self, augmentations: Sequence[Augmentation]) -> None:
        self.augmentations = augmentations

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`."""
        for augmentation in self.augmentations:
            images, targets = augmentation(images, targets, generator)
        return images, targets


class Affine:
    """Rotate, shift and zoom about the center, bilinear; what comes in from outside is black.

    Args:
        degrees: Angles are uniform in [-degrees, degrees].
        shift: Shifts along each axis are uniform in [-shift, shift], in pixels.
        zoom: Magnifications are uniform in [1 - zoom, 1 + zoom].
    """

    def __init__(self, *, degrees: float = 0.0, shift: float = 0.0, zoom: float = 0.0) -> None:
        if not (0 <= degrees < math.inf and 0 <= shift < math.inf and 0 <= zoom < 1):
            raise ValueError(f"need degrees >= 0, shift >= 0 and 0 <= zoom < 1, got {degrees!r}, {shift!r}, {zoom!r}")
        self.degrees = degrees
        self.shift = shift
        self.zoom = zoom

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`."""
        size, _, height, width = images.shape
        draw = torch.rand(4, size, generator=generator, device=images.device).mul_(2).sub_(1)
        angle, scale = draw[0] * math.radians(self.degrees), 1 + draw[1] * self.zoom
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        # affine_grid's coordinates run from -1 to 1 along each axis, whatever its length.
        aspect = height / width
        rows = [
            cos,
            -sin * aspect,
            draw[2] * (2 * self.shift / width),
            sin / aspect,
            cos,
            draw[3] * (2 * self.shift / height),
        ]
        grid = F.affine_grid(torch.stack(rows, dim=1).view(size, 2, 3), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False), targets


class Crop:
    """Pad with black on every side and cut out a window of the old size: a shift by whole pixels.

    Args:
        padding: Pixels; shifts are uniform in [-padding, padding] along each axis.
    """

    def __init__(self, padding: int) -> None:
        if padding < 0:
            raise ValueError(f"padding must not be negative, got {padding!r}")
        self.padding = padding

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`."""
        size, _, height, width = images.shape
        start = torch.randint(0, 2 * self.padding + 1, (2, size, 1), generator=generator, device=images.device)
        padded = F.pad(images, (self.padding,) * 4)
        rows = (start[0] + torch.arange(height, device=images.device))[:, None, :, None]
        columns = (start[1] + torch.arange(width, device=images.device))[:, None, None, :]
        which = torch.arange(size, device=images.device)[:, None, None, None]
        channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        return padded[which, channels, rows, columns], targets


class Flip:
    """Mirror left and right.

    Args:
        probability: Of a mirrored image.
    """

    def __init__(self, probability: float = 0.5) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {probability!r}")
        self.probability = probability

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`."""
        flipped = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < self.probability
        return torch.where(flipped, images.flip(-1), images), targets


class Cutout:
    """Black out a square, wholly or partly inside the image.

    Args:
        size: Side in pixels. The square's center is uniform over the image.

    Source: DeVries, Taylor: Improved regularization of convolutional neural networks with cutout, 2017.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size!r}")
        self.size = size

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`."""
        inside = []
        for axis in (2, 3):
            length = images.shape[axis]
            center = torch.randint(0, length, (len(images), 1), generator=generator, device=images.device)
            offset = torch.arange(length, device=images.device) - center + self.size // 2
            inside.append((offset >= 0) & (offset < self.size))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill(hole, 0.0), targets


class Mixup:
    """Blend each image, and its target, with another of the batch.

    Args:
        alpha: Of the Beta(alpha, alpha) distribution that the blending weights come from.
        num_classes: Filled in by the datamodule.

    Source: Zhang et al.: mixup: Beyond empirical risk minimization, 2018. Weights are drawn per image.
    """

    def __init__(self, alpha: float, num_classes: int) -> None:
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be positive, got {alpha!r}")
        self.alpha = alpha
        self.num_classes = num_classes

    def __call__(self, images: Tensor, targets: Tensor, generator: Generator) -> Batch:
        """See `strobe.data.loaders.Augmentation`; targets become ``(B, classes)`` float32 probabilities."""
        size, device = len(images), images.device
        # Beta(a, a) as a ratio of two Gamma(a). Private: torch's distributions take no generator.
        shape = torch.full((2, size), self.alpha, device=device)
        gamma = torch._standard_gamma(shape, generator=generator)
        weight = (gamma[0] / gamma.sum(0).clamp_min(torch.finfo(torch.float32).tiny)).to(images.dtype)
        partner = torch.randperm(size, generator=generator, device=device)
        soft = F.one_hot(targets, self.num_classes).to(images.dtype)
        image_weight, target_weight = weight.view(-1, 1, 1, 1), weight.view(-1, 1)
        mixed = torch.lerp(images[partner], images, image_weight)
        return mixed, torch.lerp(soft[partner], soft, target_weight)
