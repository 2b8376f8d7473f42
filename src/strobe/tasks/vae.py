"""A variational autoencoder: images from a few numbers, and back."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.nn import functional as F

from strobe.errors import ConfigError
from strobe.record.layout import Mode
from strobe.tasks.pictures import COLUMNS, Pixels, evaluating, fixed_noise, require_images, show, validates
from strobe.tasks.task import Task, at_least_single

_PARTS = ("encoder", "decoder", "latent")


class VAE(Task):
    """Trains a net to encode images and to draw new ones, by the evidence lower bound (ELBO).

    ``loss`` is ``reconstruction + beta * kl`` in nats, the mean over images; with ``beta=1`` the negative ELBO.
    Training draws its noise from torch's random stream. Validation and test draw theirs anew from a generator of their
    own: the same weights give the same numbers, and the stream is left alone. Each rank draws its own.

    At the end of each validation, samples from the prior (from the same latent numbers every time) and
    reconstructions of the first validation images, each row below that of the originals, go to ``pictures/`` in the run
    directory and to TensorBoard. Without a validation set there are samples alone, at the end of each epoch; under
    FSDP none then.

    Source: Kingma and Welling 2014, https://arxiv.org/abs/1312.6114; beta: Higgins et al. 2017.

    Args:
        net: Has an ``encoder``, from images ``(B, C, H, W)`` to means and log variances ``(B, 2 * latent)``; a
            ``decoder``, from ``(B, latent)`` to logits of pixels ``(B, C, H, W)``; and the number ``latent``.
        beta: Weight of the Kullback-Leibler divergence, 0 or more.
        likelihood: Of a pixel: ``bernoulli`` takes its brightness for the probability of white, good for black and
            white pictures; ``gaussian`` has one standard deviation for all, which is learnt.
        pictures: How many samples, and half as many reconstructions; 0 for none.
        mean: Of the images' normalization, per channel; None: their pixels are in [0, 1].
        std: The same.
        compile: Compile both parts of the net.
    """

    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min", "reconstruction": "min"}  # of kl, less is not better

    def __init__(
        self,
        net: Any,
        beta: float = 1.0,
        likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
        pictures: int = 64,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if beta < 0:
            raise ValueError(f"beta={beta}: must be 0 or more")
        if missing := [name for name in _PARTS if not hasattr(net, name)]:
            raise ConfigError(
                f"model: VAE needs a net with {', '.join(_PARTS)}; {type(net).__name__} lacks "
                f"{', '.join(missing)}: choose model=vae"
            )
        self.net = net
        self.beta = beta
        self.pictures = pictures
        self.pixels = Pixels(mean, std)
        self.log_sigma = nn.Parameter(torch.tensor(-1.0)) if likelihood == "gaussian" else None
        self._noise = torch.Generator()  # of validation and test
        self._drawn: dict[str, Tensor] = {}  # pictures to be written when the validation ends
        if compile:
            for part in (net.encoder, net.decoder):
                part.compile()

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(B, C, H, W)`` to their reconstructions, pixels in [0, 1]."""
        reconstructions: Tensor = self.net(images)
        return reconstructions

    def step(self, batch: Any) -> dict[str, Tensor]:
        """The loss and its two parts for images ``(B, C, H, W)``; what else is in the batch is not looked at."""
        images = _images(batch)
        encoded = self.net.encoder(images)
        mean, log_variance = at_least_single(encoded).chunk(2, dim=1)
        latents = mean + (log_variance / 2).exp() * self._noise_like(mean)
        logits = at_least_single(self.net.decoder(latents.to(encoded.dtype)))
        pixels = self.pixels(images)
        reconstruction = self._nats(logits, pixels)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
        return {
            "loss": (reconstruction + self.beta * kl).mean(),
            "reconstruction": reconstruction,
            "kl": kl,
            "preds": logits.sigmoid(),
            "target": pixels,
        }

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch; draw pictures at the first."""
        super().validation_step(batch, batch_idx)
        if batch_idx == dataloader_idx == 0 and self.pictures and not self.trainer.sanity_checking:
            images = _images(batch)[: max(1, self.pictures // 2)]
            # On all ranks, and here: under FSDP, a net can be called by all of them within a step alone.
            self._drawn = {
                "samples": self._samples(),
                "reconstructions": _in_pairs(self.pixels(images), self.net(images)),
            }

    def on_validation_epoch_start(self) -> None:
        """Draw the same noise as in every validation."""
        self._noise.manual_seed(self.global_rank)

    def on_test_epoch_start(self) -> None:
        """Draw the same noise as in every test."""
        self._noise.manual_seed(self.global_rank)

    def on_validation_epoch_end(self) -> None:
        """Log the means, write the pictures."""
        super().on_validation_epoch_end()
        drawn, self._drawn = self._drawn, {}
        for name, pictures in drawn.items():
            show(self.trainer, name, pictures)

    def on_train_epoch_end(self) -> None:
        """Log the means; without a validation, show samples here."""
        super().on_train_epoch_end()
        if self.pictures and not validates(self.trainer) and not isinstance(self.trainer.strategy, FSDPStrategy):
            with evaluating(self.net):
                show(self.trainer, "samples", self._samples())

    def _samples(self) -> Tensor:
        dtype = next(self.net.parameters()).dtype
        noise = fixed_noise(self.pictures, int(self.net.latent)).to(self.device, dtype)
        samples: Tensor = self.net.decoder(noise).sigmoid()
        return samples

    def _noise_like(self, mean: Tensor) -> Tensor:
        if self.training:
            return torch.randn_like(mean)
        return torch.randn(mean.shape, generator=self._noise, dtype=mean.dtype).to(mean.device)

    def _nats(self, logits: Tensor, pixels: Tensor) -> Tensor:
        """Negative log likelihood of each image, ``(B,)``."""
        if self.log_sigma is None:
            nats = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none")
        else:
            errors = (logits.sigmoid() - pixels) / self.log_sigma.exp()
            nats = errors.square() / 2 + self.log_sigma + math.log(2 * math.pi) / 2
        return nats.flatten(1).sum(dim=1)


def _images(batch: Any) -> Tensor:
    images = batch[0] if isinstance(batch, list | tuple) and batch else batch
    require_images(images)
    assert isinstance(images, Tensor), "that is what was required"
    return images


def _in_pairs(originals: Tensor, reconstructions: Tensor) -> Tensor:
    """Rows of originals, each followed by that of its reconstructions, for a grid; as many as fill their rows."""
    columns = min(COLUMNS, len(originals))
    rows = len(originals) // columns
    both = [pictures[: rows * columns].float() for pictures in (originals, reconstructions)]
    stacked = torch.stack([pictures.view(rows, columns, *pictures.shape[1:]) for pictures in both], dim=1)
    return stacked.flatten(0, 2)
