"""What TensorBoard shows beside the curves: graph, settings, images, histograms, and the table of HParams."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn

from strobe.callbacks.recorder import recorder_of
from strobe.callbacks.tensorboard_images import Outcomes, first_batch
from strobe.callbacks.tensorboard_logger import TensorBoard
from strobe.data.facts import facts_told
from strobe.errors import InterruptedRunError, PreemptedError, first_line
from strobe.machine.compiler import is_compiler_there
from strobe.record.layout import CONFIG
from strobe.record.settings import leaves
from strobe.tasks.classifier import Classifier
from strobe.tasks.means import of_all_ranks
from strobe.tasks.pictures import VIEW

_GROUPS = ("task", "model", "optimizer", "scheduler", "loss")
_KEYS = (
    *("seed", "compile", "decay_norm_and_bias", "data.batch_size", "data.augment", "data.val_size"),
    *("trainer.max_epochs", "trainer.precision", "trainer.accumulate_grad_batches", "trainer.gradient_clip_val"),
)

log = logging.getLogger(__name__)


class TensorBoardPages(Callback):
    """Writes the net's graph and the config when training begins; images and histograms if the logger wants them.

    Nothing here draws from the random stream, and nothing is kept but a few pictures.

    Args:
        in_shape: Of an example, such as ``(channels, height, width)``; None where it is not known.
    """

    def __init__(self, in_shape: Sequence[int] | None) -> None:
        self.in_shape = in_shape
        self._gathers = False  # in this test, on every rank
        self._results: Outcomes | None = None  # none any more on a rank where something went wrong

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Trace the net once, without touching its state or the random stream.

        Here it is still whole and on the CPU, whatever the strategy.
        """
        for logger in _loggers(trainer):
            if stage == "fit":
                _write_graph(logger, pl_module, self.in_shape)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the config as it was written."""
        if not any(map(_wants_histograms, _loggers(trainer))):
            self.on_train_batch_end = None  # type: ignore[method-assign, assignment]  # as in `on_train_batch_start`
        path = Path(trainer.default_root_dir) / CONFIG
        for logger in _loggers(trainer):
            with _told_instead_of_raised("config"):
                if path.is_file():
                    text = _as_code(path.read_text(encoding="utf-8"))
                    logger.experiment.add_text("config", text, trainer.global_step)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Show the first batch as the net sees it; a run that is resumed has shown it."""
        inputs = batch[0] if isinstance(batch, list | tuple) and batch else batch
        if isinstance(inputs, Tensor) and inputs.ndim == 4 and trainer.global_step == 0:
            _show(trainer, "first_batch", lambda: first_batch(inputs, facts_told(_data(trainer))), "CHW")
        # Once is enough, and Lightning passes over what can't be called: a hook in every step is paid for.
        self.on_train_batch_start = None  # type: ignore[assignment]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show weights and the gradients of the epoch's last step, before Lightning forgets these to validate.

        Of shards, as FSDP has them, there is nothing to show.
        """
        if not trainer.is_last_batch or isinstance(trainer.strategy, FSDPStrategy):
            return
        for logger in _loggers(trainer):
            if not _wants_histograms(logger):
                continue
            with _told_instead_of_raised("histograms"):
                for name, parameter in pl_module.named_parameters():
                    for kind, tensor in (("weights", parameter), ("weights.grad", parameter.grad)):  # below the curves
                        if tensor is not None and (values := _finite(tensor)).numel():
                            logger.experiment.add_histogram(f"{kind}/{name}", values, max(0, trainer.global_step - 1))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Be ready to count, on every rank."""
        shown = [logger for logger in trainer.loggers if isinstance(logger, TensorBoard)]
        for logger in shown:
            logger.in_test = True
        self._gathers = isinstance(pl_module, Classifier) and any(logger.images for logger in shown)
        self._results = Outcomes(independent=bool(pl_module.several_labels)) if self._gathers else None

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count a batch by what the task has made of it; there is no second pass."""
        if self._results is None or not isinstance(outputs, Mapping):
            return
        logits, labels = outputs.get("preds"), outputs.get("target")
        if isinstance(logits, Tensor) and isinstance(labels, Tensor) and logits.ndim == 2 and labels.ndim == 1:
            results, self._results = self._results, None
            with _told_instead_of_raised("confusion matrix"):
                results.add(batch, logits, labels)
                self._results = results

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show where the net was wrong."""
        gathers, own = self._gathers, self._results
        self._gathers, self._results = False, None
        # A rank that has nothing takes part all the same: the others would wait for it.
        of_ranks: list[Outcomes | None] = of_all_ranks(own) if gathers and trainer.world_size > 1 else [own]
        parts = [part for part in of_ranks if part is not None]
        if len(parts) == len(of_ranks):  # else they would be of a part of the test
            whole = cache(lambda: Outcomes.merged(parts))  # where it is drawn, and once
            _show(trainer, "confusion_matrix", lambda: whole().confusion(facts_told(_data(trainer))))
            _show(trainer, "surest_mistakes", lambda: whole().mistakes(facts_told(_data(trainer))))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoard):
                logger.in_test = False


def log_hparams(trainer: Trainer, config: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Fill the HParams page: the settings of the run and its final metrics, once they are known.

    A metric there has to be a scalar, which has a card: those are the curves, of which TensorBoard takes the last
    values. So what is no curve stands among the settings: the best weights' values, and a test's.
    Which settings come first is left to TensorBoard: those that differ between the runs it is shown.
    """
    with _told_instead_of_raised("HParams"):  # the run is trained and tested, and has yet to be completed
        curves = recorder_of(trainer).best_metrics
        for logger in _loggers(trainer):
            logger.experiment.add_text("result", _as_table(metrics), max(0, trainer.global_step - 1))
            if isinstance(logger, TensorBoard):
                # Those of training nobody compares runs by; by the alphabet, the rest comes after the settings.
                compared = {name: value for name, value in metrics.items() if not name.startswith("train/")} or metrics
                results = {f"{name} (best)" if name in curves else name: value for name, value in compared.items()}
                logger.log_row({**hparams(config), **results})
            else:  # under names of their own: as val/acc and so on they would add a point to the curves
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


def _loggers(trainer: Trainer) -> Iterator[TensorBoardLogger]:
    """Those that write: the first rank's."""
    if trainer.is_global_zero:
        yield from (logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger))


def _wants_histograms(logger: TensorBoardLogger) -> bool:
    return isinstance(logger, TensorBoard) and logger.histograms


def _show(trainer: Trainer, name: str, draw: Callable[[], Any], layout: str = "HWC") -> None:
    """Have a picture drawn, if there is a logger that wants any, and show it."""
    for logger in _loggers(trainer):
        if not isinstance(logger, TensorBoard) or not logger.images:
            continue
        with _told_instead_of_raised(name.replace("_", " ")):
            page = draw()
            if page is not None:
                at = max(0, trainer.global_step - 1)
                logger.experiment.add_image(f"{VIEW}/{name}", page, at, dataformats=layout)


@contextmanager
def _told_instead_of_raised(what: str) -> Iterator[None]:
    """See to it that what is only shown costs no run: an error is a line of the log."""
    try:
        yield
    except (InterruptedRunError, PreemptedError):  # a signal came meanwhile
        raise
    except Exception as error:
        log.warning("No %s in TensorBoard: %s", what, first_line(error))


def _data(trainer: Trainer) -> Any:
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning doesn't declare it


def _finite(tensor: Tensor) -> Tensor:
    values = tensor.detach().float().cpu().flatten()
    return values[values.isfinite()]


def _as_code(text: str) -> str:
    """Text as it is, in Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _as_table(metrics: Mapping[str, float]) -> str:
    rows = (f"| {name} | {value:.5g} |" for name, value in metrics.items())
    return "\n".join(["| metric | value |", "| --- | --- |", *rows])


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
        eager = torch.compiler.set_stance("force_eager") if is_compiler_there() else nullcontext()
        with (
            _told_instead_of_raised("graph"),
            eager,
            warnings.catch_warnings(),
            torch.random.fork_rng(),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")  # the tracer's, and its deprecation: TensorBoard knows no other graph
            # Traced here, because TensorBoard would trace twice and compare, which imports a second's worth of torch.
            traced = torch.jit.trace(net.eval(), example, check_trace=False)  # type: ignore[no-untyped-call]
            logger.experiment.add_graph(traced, example)
    finally:
        for module, mode in training.items():  # one by one: a part may be meant to be frozen
            module.training = mode
