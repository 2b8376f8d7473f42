"""A generative adversarial network: one net makes images, another tells them from real ones."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer

from strobe.errors import ConfigError
from strobe.models.optimizers import keep_state_dtypes
from strobe.record import lightning_state
from strobe.record.layout import Mode
from strobe.tasks.frechet import Moments, frechet_distance
from strobe.tasks.means import WIDEST
from strobe.tasks.pictures import Pixels, evaluating, fixed_noise, require_images, show, validates
from strobe.tasks.task import Task, at_least_single

_AT_ONCE = 500  # images that are made for a measurement


class GAN(Task):
    """Trains two nets against each other with the non-saturating loss, each by an Adam of its own.

    ``loss`` is ``d_loss + g_loss``, of which less is not better. What can be monitored is ``frechet_pixels``: the
    squared Fréchet distance between the normal distributions with the mean and covariance of the real and of as many
    generated images (at most 10,000), over pixels in [0, 1]. It sees wrong brightness, wrong shapes and too little
    variety, but not whether a single image is a good one. It is measured on every validation and test, from latent
    numbers that are the same every time; without a validation set, on the training images.

    At the end of each validation (without one, of each epoch) samples, from the same latent numbers every time, go to
    ``pictures/`` in the run directory and to TensorBoard.

    ``trainer.global_step`` counts the steps of both optimizers: two a batch.

    Source: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661.

    Args:
        generator: Makes, of ``in_shape`` and ``latent``, a net from ``(B, latent)`` to images in [-1, 1].
        discriminator: Makes, of ``in_shape``, a net from images in [-1, 1] to logits of being real, ``(B,)``.
        in_shape: ``(channels, height, width)`` of an image.
        latent: Of how many numbers an image is made.
        lr: Learning rate of both.
        betas: Of both.
        pictures: How many samples are shown; 0 for none.
        mean: Of the images' normalization, per channel; None: their pixels are in [0, 1].
        std: The same.
    """

    metrics: ClassVar[Mapping[str, Mode]] = {"frechet_pixels": "min"}

    def __init__(
        self,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        in_shape: Sequence[int],
        latent: int = 64,
        lr: float = 2e-4,
        betas: Sequence[float] = (0.5, 0.999),
        pictures: int = 64,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = generator(in_shape=tuple(in_shape), latent=latent)
        self.discriminator = discriminator(in_shape=tuple(in_shape))
        self.latent = latent
        self.lr = lr
        self.betas = betas[0], betas[1]
        self.pictures = pictures
        self.pixels = Pixels(mean, std)
        self.example_input_array = torch.zeros(1, latent)
        self._real = Moments()  # of the images of a validation, a test, or an epoch without validation
        self._real_finished = self._real  # of the latest epoch

    def configure_optimizers(self) -> list[Optimizer]:
        """Of the generator and of the discriminator.

        Raises:
            ConfigError: Under FSDP.
        """
        if isinstance(self.trainer.strategy, FSDPStrategy):
            raise ConfigError(
                "trainer.strategy=fsdp: GAN takes turns with two nets, which FSDP can't; choose trainer=ddp"
            )
        nets = (self.generator, self.discriminator)
        return [keep_state_dtypes(Adam(net.parameters(), lr=self.lr, betas=self.betas)) for net in nets]

    def forward(self, latents: Tensor) -> Tensor:
        """Map ``(B, latent)`` to pixels in [0, 1], ``(B, C, H, W)``."""
        weight = next(self.generator.parameters())
        images: Tensor = self.generator(latents.to(weight.device, weight.dtype))
        return (images + 1) / 2

    def step(self, batch: Any) -> dict[str, Tensor]:
        """The losses of images ``(B, C, H, W)``; in training, a step of the discriminator, then one of the generator.

        What else is in the batch is not looked at.
        """
        images = batch[0] if isinstance(batch, list | tuple) and batch else batch
        require_images(images)
        pixels = self.pixels(images)
        if not self.training or not validates(self.trainer):
            self._real.add(pixels)
        real = (pixels * 2 - 1).to(images.dtype)
        if self.training:
            noise = torch.randn(len(images), self.latent, device=self.device, dtype=images.dtype)
        else:
            noise = fixed_noise(len(images), self.latent).to(images)
        made = self.generator(noise)
        d_loss = self._softplus(real, sign=-1) + self._softplus(made.detach(), sign=1)
        self._optimize(1, self.discriminator, d_loss)
        g_loss = self._softplus(made, sign=-1)
        self._optimize(0, self.generator, g_loss)
        d_loss, g_loss = d_loss.detach(), g_loss.detach()
        return {"loss": d_loss + g_loss, "d_loss": d_loss, "g_loss": g_loss}

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """Adds the distance, where real images have been counted; every rank has to call this."""
        counted, self._real, self._real_finished = self._real, Moments(), self._real
        real = self._moments_over_ranks(counted)
        if not real.count:
            return means
        made = Moments()
        left = min(counted.count, 10_000 // self.trainer.world_size)
        noise = fixed_noise(left, self.latent, seed=1 + self.global_rank)
        with evaluating(self.generator):
            for first in range(0, left, _AT_ONCE):
                made.add(self(noise[first : first + _AT_ONCE]).float())
        return {**means, "frechet_pixels": frechet_distance(real, self._moments_over_ranks(made))}

    def on_validation_epoch_end(self) -> None:
        """Log what was measured, show samples."""
        measured = self.means["val"].count > 0  # fast_dev_run validates even where there is nothing to validate on
        super().on_validation_epoch_end()
        if measured and not self.trainer.sanity_checking:
            self._show()

    def on_train_epoch_end(self) -> None:
        """Log the means; without a validation, show samples here."""
        super().on_train_epoch_end()
        if not validates(self.trainer):
            self._show()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what an unfinished epoch has counted so far, over all ranks."""
        super().on_save_checkpoint(checkpoint)
        if not validates(self.trainer):
            real = self._real_finished if lightning_state.cut_short(self.trainer) else self._real
            total = self._moments_over_ranks(real)
            checkpoint["epoch_moments"] = {"count": total.count, "sums": total.sums}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up again what an unfinished epoch has counted."""
        super().on_load_checkpoint(checkpoint)
        if (saved := checkpoint.get("epoch_moments")) and self.trainer.is_global_zero:
            self._real = Moments(saved["count"], saved["sums"])

    def _show(self) -> None:
        if self.pictures:
            with evaluating(self.generator):
                show(self.trainer, "samples", self(fixed_noise(self.pictures, self.latent)))

    def _softplus(self, images: Tensor, *, sign: int) -> Tensor:
        return F.softplus(sign * at_least_single(self.discriminator(images))).mean()

    def _optimize(self, index: int, net: nn.Module, loss: Tensor) -> None:
        """Take a step of one of the nets; the other gets no gradients."""
        if not self.training:
            return
        optimizer: Any = self.optimizers()[index]  # type: ignore[index]  # there are two
        parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        optimizer.zero_grad()
        wrapper = self.trainer.strategy.model
        # DDP averages gradients when all parameters have theirs; here a half of them has, so it is done by hand.
        with wrapper.no_sync() if isinstance(wrapper, DistributedDataParallel) else nullcontext():
            self.manual_backward(loss, inputs=parameters)
        if self.trainer.world_size > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])  # one message
            means = torch.split(
                self.trainer.strategy.reduce(flat, reduce_op="mean"), [gradient.numel() for gradient in gradients]
            )
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view(gradient.shape))
        optimizer.step()

    def _moments_over_ranks(self, moments: Moments) -> Moments:
        """The sums of all ranks; every rank has to call this."""
        strategy = self.trainer.strategy
        if self.trainer.world_size == 1:
            return moments
        count = int(strategy.reduce(torch.tensor(moments.count, device=strategy.root_device), reduce_op="sum"))
        if not count:
            return Moments()
        shape: Any = strategy.broadcast(None if moments.sums is None else tuple(moments.sums.shape))
        own = torch.zeros(shape, dtype=WIDEST) if moments.sums is None else moments.sums  # a rank may have had no batch
        return Moments(count, strategy.reduce(own.to(strategy.root_device), reduce_op="sum"))
