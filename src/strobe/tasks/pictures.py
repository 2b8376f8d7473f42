"""Pictures that a task makes of its net's state: files in the run directory, and pages of TensorBoard."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from strobe.errors import ConfigError, InterruptedRunError, PreemptedError, first_line
from strobe.record.files import replacing

FOLDER = "pictures"
"""Where they lie in a run directory."""

VIEW = "view"
"""Where they are in TensorBoard, which goes by the alphabet: below the curves, `train` and `val`."""

COLUMNS = 8
_GAP = 2  # pixels
_GREY = 0.3  # of the gaps: most backgrounds are black or white
_ROUNDING = 0.05  # by which bfloat16 may leave [0, 1]

log = logging.getLogger(__name__)


class Pixels(nn.Module):
    """Undoes the normalization of images.

    What it was is kept in checkpoints: a net that is tested on another set gets images that were normalized as those it
    was trained on.

    Args:
        mean: Per channel; None: the images are pixels in [0, 1] already.
        std: Per channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        for name, values in (("mean", mean or [0.0]), ("std", std or [1.0])):
            self.register_buffer(name, torch.tensor(list(values)).view(-1, 1, 1))
        self._checked = False

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images ``(B, C, H, W)`` to pixels in [0, 1], at least float32.

        Raises:
            ConfigError: If they are not, seen at the first batch.
        """
        pixels = images * self.std + self.mean  # float32 where the images are half precision
        if not self._checked:
            low, high = float(pixels.min()), float(pixels.max())
            if low < -_ROUNDING or high > 1 + _ROUNDING:
                raise ConfigError(
                    f"task: the pixels range from {low:.3g} to {high:.3g}, they must be in [0, 1]: set task.mean and "
                    "task.std, lists of a number for each channel, to those that the data was normalized with"
                )
            self._checked = True
        return pixels.clamp(0, 1)


def require_images(images: object) -> None:
    """See to it that a batch begins with images.

    Raises:
        ConfigError: If it doesn't.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(
            f"task: a batch begins with {shape}, it must be images of shape (B, C, H, W); choose data=mnist"
        )


def show(trainer: Trainer, name: str, pictures: Tensor) -> None:
    """Write a grid of pictures as they are now; the first rank does. One that can't be written is told, and no more.

    Args:
        trainer: Knows the run directory, the loggers, and how far training is.
        name: Begins the name of the file.
        pictures: ``(N, C, H, W)`` in [0, 1].
    """
    if not trainer.is_global_zero:
        return
    try:
        _write_and_log(trainer, name, grid(pictures))
    except (InterruptedRunError, PreemptedError):  # a signal came meanwhile
        raise
    except Exception as error:  # a disk that is full, a logger of anyone's: the training is worth more
        log.warning("No picture of %s: %s", name, first_line(error))


def _write_and_log(trainer: Trainer, name: str, page: Tensor) -> None:
    within = "" if trainer.is_last_batch else f"_step{trainer.global_step}"  # an epoch may be validated several times
    write(Path(trainer.default_root_dir) / FOLDER / f"{name}_epoch{trainer.current_epoch:03}{within}.png", page)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # The step before, as of all that belongs to a step that was taken: a resumed run forgets later ones.
            step = max(0, trainer.global_step - 1)
            logger.experiment.add_image(f"{VIEW}/{name}", page, step, dataformats="CHW")


def grid(pictures: Tensor) -> Tensor:
    """Pictures ``(N, C, H, W)`` in [0, 1] side by side, `COLUMNS` a row: ``(C, height, width)`` uint8 on the CPU.

    One or three channels are shown as they are, of any other number the mean.
    """
    if pictures.shape[1] not in (1, 3):
        pictures = pictures.mean(dim=1, keepdim=True)
    count, channels, height, width = pictures.shape
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    cells = torch.full((rows * columns, channels, height + _GAP, width + _GAP), _GREY)
    cells[:count, :, _GAP:, _GAP:] = pictures.detach().float().cpu().clamp(0, 1)
    page = cells.view(rows, columns, *cells.shape[1:]).permute(2, 0, 3, 1, 4)
    page = page.reshape(channels, rows * cells.shape[2], columns * cells.shape[3])
    return (F.pad(page, (0, _GAP, 0, _GAP), value=_GREY) * 255).round().to(torch.uint8)


def write(path: Path, page: Tensor) -> None:
    """Write ``(C, height, width)`` uint8 as a PNG file, whole or not at all."""
    array = page[0].numpy() if len(page) == 1 else page.permute(1, 2, 0).contiguous().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")


def validates(trainer: Trainer) -> bool:
    """Whether a fit has anything to validate on."""
    return sum(trainer.num_val_batches) > 0


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Have a net evaluate, without gradients; then every part of it is as it was."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def fixed_noise(count: int, latent: int, seed: int = 0) -> Tensor:
    """Standard normal draws ``(count, latent)``, the same in every epoch and run, for pictures that compare.

    Made on the CPU by a generator of their own: the random stream of the training isn't touched.
    """
    return torch.randn(count, latent, generator=torch.Generator().manual_seed(seed))
