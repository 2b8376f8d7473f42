"""A net that takes pictures of 0 to 255: what comes before the trained one is inside."""

import torch
from torch import Tensor, nn

from strobe.data.resized import Resize
from strobe.run.exported.prepared import CentredDigit
from strobe.run.saved import SavedNet


def prepares(net: SavedNet) -> bool:
    """Whether what a person draws can be prepared inside, as the data set's pictures were."""
    return net.preparation == "centred_digit" and net.stored_shape == (1, 28, 28)


class FromPixels(nn.Module):
    """Prepares pictures, if that can be done inside, scales them to [0, 1] and to the net's size, normalizes, asks.

    Args:
        net: What to ask; see `SavedNet.normalized`, which does the same outside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: SavedNet) -> None:
        super().__init__()
        self.net = net.net
        self.prepare = CentredDigit() if prepares(net) else nn.Identity()
        channels, height, width = net.shape
        self.resize = Resize((height, width), 3 if channels == 3 else None)
        for name, values in (("mean", net.mean), ("std", net.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map ``(B, *stored_shape)`` of 0 to 255, uint8 or float32, to what the net gives; prepared, of any size."""
        scaled = self.resize(self.prepare(images.to(torch.float32)) / 255)
        outputs: Tensor = self.net((scaled - self.mean) / self.std)
        return outputs
