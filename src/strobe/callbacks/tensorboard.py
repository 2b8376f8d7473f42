"""TensorBoard's graph and HParams pages, which Lightning fills with an error and with -1."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from strobe.errors import first_line
from strobe.record.settings import leaves

_GROUPS = ("task", "model", "optimizer", "scheduler", "loss")
_KEYS = (
    *("seed", "compile", "decay_norm_and_bias", "data.batch_size", "data.augment", "data.val_size"),
    *("trainer.max_epochs", "trainer.precision", "trainer.accumulate_grad_batches", "trainer.gradient_clip_val"),
)

log = logging.getLogger(__name__)


class TensorBoardPages(Callback):
    """Writes the net's graph when training begins.

    Args:
        in_shape: Of an example, such as ``(channels, height, width)``; None where it is not known.
    """

    def __init__(self, in_shape: Sequence[int] | None) -> None:
        self.in_shape = in_shape

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Trace the net once, without touching its state or the random stream.

        Here it is still whole and on the CPU, whatever the strategy.
        """
        for logger in trainer.loggers:
            if stage == "fit" and isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
                _write_graph(logger, pl_module, self.in_shape)


def log_hparams(trainer: Trainer, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Fill the HParams page: the settings of the run and its final metrics, once they are known."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            # Under names of their own: as val/acc and so on they would add a point to the curves.
            final = {f"final/{name}": value for name, value in metrics.items()}
            logger.log_hyperparams(hparams(config), final, step=trainer.global_step)
            logger.save()


def hparams(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """The settings that people compare: all of the net, optimizer, schedule and loss, and a few others."""
    chosen: dict[str, bool | int | float | str] = {}
    for name, value in leaves(config):
        if value is None:
            continue
        group, _, key = name.partition(".")
        if group in _GROUPS and key == "_target_":
            chosen[group] = str(value).rpartition(".")[2]
        elif name in _KEYS or (group in _GROUPS and not key.startswith("_")):
            chosen[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return chosen


def _write_graph(logger: TensorBoardLogger, pl_module: LightningModule, in_shape: Sequence[int] | None) -> None:
    example: Any = pl_module.example_input_array
    net: nn.Module | None = pl_module if example is not None else getattr(pl_module, "net", None)
    if net is None or (example is None and in_shape is None):
        return
    if example is None:
        assert in_shape is not None, "there is one of the two"
        dtype = next((parameter.dtype for parameter in net.parameters()), None)
        example = torch.zeros(1, *in_shape, dtype=dtype)
    training = {module: module.training for module in net.modules()}
    try:
        # Eager: the tracer does not see into what has been compiled.
        eager = torch.compiler.set_stance("force_eager")
        with eager, warnings.catch_warnings(), torch.random.fork_rng(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's, and its deprecation: TensorBoard knows no other graph
            logger.experiment.add_graph(net.eval(), example)
    except Exception as error:  # a picture is not worth a run
        log.warning("No graph in TensorBoard: %s", first_line(error))
    finally:
        for module, mode in training.items():  # one by one: a part may be meant to be frozen
            module.training = mode
