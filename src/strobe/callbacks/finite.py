"""The watch for numbers that are none: a run that has diverged ends, and leaves no such checkpoint."""

import math

from lightning.pytorch import LightningModule, Trainer

from strobe.errors import DivergedError

ADVICE = "Try a smaller optimizer.lr, trainer.gradient_clip_val=1.0, or trainer.precision=32"


def require_finite_losses(metrics: dict[str, float], when: str) -> None:
    """See to it that the losses of an epoch are numbers.

    Raises:
        DivergedError: If one is NaN or infinite.
    """
    for name in ("train/loss", "val/loss", "train_loss", "val_loss"):
        if not math.isfinite(metrics.get(name, 0.0)):
            raise DivergedError(f"{name} is {metrics[name]} {when}")


def require_finite_weights(pl_module: LightningModule, trainer: Trainer) -> None:
    """Keep non-finite weights out of every checkpoint: the last step can ruin them after a finite loss.

    Raises:
        DivergedError: If a weight is NaN or infinite.
    """
    # Not the state_dict: where parameters are shared out among ranks, it would gather them all.
    buffers = {name for name, _ in pl_module.named_buffers()}
    for name, tensor in (*pl_module.named_parameters(), *pl_module.named_buffers()):
        if not tensor.is_floating_point():
            continue
        # A mask of minus infinity is a buffer as it should be.
        odd = tensor.isnan().any() if name in buffers else ~tensor.isfinite().all()
        if bool(odd):
            raise DivergedError(f"{name} became NaN or infinite in epoch {trainer.current_epoch}. {ADVICE}")
