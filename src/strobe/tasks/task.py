"""A LightningModule of one method, `Task.step`: what to make of a batch. The counting is done here."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from strobe.errors import ConfigError
from strobe.record import lightning_state
from strobe.record.layout import Mode
from strobe.tasks.means import FOR_METRICS, Means, of_all_ranks
from strobe.tasks.states import set_state, state_of

Split = Literal["train", "val", "test"]
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Task(LightningModule):
    """Says what is made of a batch, in one method; training, validation, test and their metrics follow from it.

    Values are counted over examples and ranks in float64 and logged once an epoch, as ``train/<name>``, ``val/<name>``
    and ``test/<name>``. An unfinished epoch's sums are kept in its checkpoints.

    A subclass may have an optimizer of its own (``configure_optimizers``), or leave that to the config. It receives
    what its ``__init__`` names: ``net``, ``loss``, facts of the data such as ``num_classes``. A hook of its own that is
    here too calls that of this class.

    Attributes:
        metrics: What `step` (or `summarize`) gives, and whether less or more of it is better. With it, a wrong name in
            ``monitor.metric`` is found before anything is trained.
        epoch_metrics: The latest ``train/loss``, ``val/loss`` and so on, unrounded: Lightning keeps float32.
        examples: How many examples the latest epoch of each split counted, over all ranks.
    """

    metrics: ClassVar[Mapping[str, Mode]] = {"loss": "min"}

    def __init__(self) -> None:
        super().__init__()
        self.epoch_metrics: dict[str, float] = {}
        self.examples: dict[str, int] = {}
        self.means: dict[Split, Means] = {split: Means() for split in _SPLITS}
        self.measures = nn.ModuleList()  # the metrics of the config, to be where the module is
        self._measures_of: dict[Split, dict[str, Metric]] = {split: {} for split in _SPLITS}
        self._finished: tuple[Means, dict[str, Any]] | None = None  # of the latest training epoch, on this rank

    def __setattr__(self, name: str, value: Any) -> None:
        """As in every module, but for the note that Lightning makes of each hook it calls.

        Fifty of those a step through torch's `Module.__setattr__`, which looks for parameters and buffers, are a tenth
        of a small net's step.
        """
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def step(self, batch: Any) -> Mapping[str, Any]:
        """The loss of a batch, and what else is to be known of it. ``self.training`` tells whether it is trained on.

        Returns:
            ``loss``, a scalar: the mean over the batch's examples. Other values by name: scalars, means too, or a
            value for each example, ``(B,)``. ``preds`` and ``target`` are not logged, but given to the metrics that the
            config names under ``metrics``.
        """
        raise NotImplementedError(f"{type(self).__name__}.step: say what is made of a batch")

    def batch_size(self, batch: Any) -> int:
        """Number of examples in a batch: the length of its first tensor, unless a subclass knows better.

        Raises:
            ConfigError: If it holds no tensor.
        """
        if isinstance(batch, list | tuple) and batch and isinstance(batch[0], Tensor):
            return len(batch[0])
        if (first := next(_tensors(batch), None)) is None:
            raise ConfigError(
                f"{type(self).__name__}.batch_size: a {type(batch).__name__} tells no size; say which it is"
            )
        return len(first)

    def summarize(self, means: dict[str, float]) -> dict[str, float]:
        """What is logged of an epoch, from the means of what `step` gave: as they are, unless a subclass adds to them.

        Here belongs what is no mean over examples but follows from some: a perplexity, a ratio.
        """
        return means

    def measure(self, metrics: Mapping[str, Metric | MetricCollection]) -> None:
        """Have these computed in every split from ``preds`` and ``target`` of `step`, and logged by their names.

        Raises:
            ConfigError: If a name is one that the task logs itself.
        """
        single: dict[str, Metric] = {}
        for name, metric in metrics.items():  # of a collection each by itself, under the names that it gives them
            single |= dict(metric.items()) if isinstance(metric, MetricCollection) else {name: metric}
        if taken := [name for name in single if name in self.metrics]:
            raise ConfigError(f"metrics.{taken[0]}: {type(self).__name__} logs something by that name; choose another")
        for measures in self._measures_of.values():
            measures.update({name: metric.clone() for name, metric in single.items()})
            self.measures.extend(measures.values())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The mean loss of a batch."""
        values = self.step(batch)
        size = self._count("train", batch, values)
        loss: Tensor = values["loss"]
        return loss if self.trainer.world_size == 1 else loss * self._share_of_global_batch(size, batch_idx)

    # Lightning asks in every step whether it takes the number of the batch; without this, Python works it out anew.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count a batch; those of several loaders together."""
        self._count("val", batch, self.step(batch))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Mapping[str, Any]:
        """Count a batch, those of several loaders together; callbacks get what `step` has made of it."""
        values = self.step(batch)
        self._count("test", batch, values)
        return values

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means; once an epoch, because every call of `log` costs a third of a step."""
        self._finished = self.means["train"], self._measured("train")
        self._log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the means over the validation split."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over the test split."""
        self._log_epoch("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what an unfinished epoch has counted so far, over all ranks."""
        means, measured = self.means["train"], None
        if lightning_state.cut_short(self.trainer) and self._finished is not None:
            means, measured = self._finished
        sums, counts, count = self._over_ranks(means)
        checkpoint["epoch_sums"] = {"sums": sums, "counts": counts, "count": count}
        if self._measures_of["train"]:
            checkpoint["epoch_measures"] = self._measured("train") if measured is None else measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up again what an unfinished epoch has counted."""
        saved = checkpoint.get("epoch_sums")
        if not saved or not self.trainer.is_global_zero:  # the others begin at 0: these are the sums over all ranks
            return
        self.means["train"].set(saved["sums"], saved["counts"], saved["count"])
        for name, state in checkpoint.get("epoch_measures", {}).items():
            if name in self._measures_of["train"]:
                for part, values in state.items():
                    metric = self._measures_of["train"][name].get_submodule(part)
                    assert isinstance(metric, Metric), "what was saved is a metric's"
                    set_state(metric, values)

    def _count(self, split: Split, batch: Any, values: Mapping[str, Any]) -> int:
        """Count what a step gave; returns the number of examples.

        Raises:
            ConfigError: If it gave no loss, or something that can't be counted.
        """
        if "loss" not in values:
            raise ConfigError(f"{type(self).__name__}.step gives {', '.join(values) or 'nothing'}: it lacks 'loss'")
        size = self.batch_size(batch)
        self.means[split].add(values, size)
        if measures := self._measures_of[split]:
            if not all(name in values for name in FOR_METRICS):
                raise ConfigError(
                    f"metrics.{next(iter(measures))}: {type(self).__name__}.step gives no 'preds' and 'target' that it "
                    "could be computed from"
                )
            for metric in measures.values():
                metric.update(values["preds"].detach(), values["target"])
        return size

    def _measured(self, split: Split) -> dict[str, Any]:
        """The states of the metrics, over all ranks; every rank has to call this."""
        states: dict[str, Any] = {}
        for name, metric in self._measures_of[split].items():
            states[name] = {}
            for part, module in metric.named_modules():  # a wrapper's state is that of what it wraps
                if isinstance(module, Metric) and module.metric_state:
                    with module.sync_context(should_sync=self.trainer.world_size > 1):
                        states[name][part] = state_of(module)
        return states

    def _over_ranks(self, means: Means) -> tuple[dict[str, float], dict[str, int], int]:
        """The sums of all ranks, of how many examples each, and how many there were; every rank has to call this."""
        strategy, names = self.trainer.strategy, list(means.sums)
        if self.trainer.world_size > 1:  # a rank may have had no batch, or none with some value
            names = list(dict.fromkeys(name for each in of_all_ranks(names) for name in each))
        total = means.as_tensor(names, strategy.root_device)
        numbers = strategy.reduce(total, reduce_op="sum").tolist()
        sums, counts = numbers[: len(names)], map(round, numbers[len(names) : -1])
        return dict(zip(names, sums, strict=True)), dict(zip(names, counts, strict=True)), round(numbers[-1])

    def _log_epoch(self, split: Split) -> None:
        sums, counts, count = self._over_ranks(self.means[split])
        self.means[split] = Means()
        self.examples[split] = count
        if count == 0:  # fast_dev_run validates even where there is nothing to validate on
            return
        values = self.summarize({name: total / counts[name] for name, total in sums.items()})
        for name, metric in self._measures_of[split].items():
            computed = _named(name, metric.compute())
            if taken := values.keys() & computed.keys():
                raise ConfigError(f"metrics.{name}: the task logs {taken.pop()} itself; choose another name")
            values |= computed
            metric.reset()
        named = {f"{split}/{name}": float(value) for name, value in values.items()}
        self.epoch_metrics |= named
        # Reduced over ranks already: Lightning's own averaging would weigh ranks, not examples.
        self.log_dict(named)

    def _share_of_global_batch(self, size: int, batch_idx: int) -> float:
        """What the mean over ``size`` examples is multiplied by, so that the mean over ranks is one over examples.

        1 for every batch but the last, which may not divide by the number of ranks; and where the loader doesn't tell.
        """
        loader: Any = self.trainer.train_dataloader
        for order in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
            of_all_ranks = getattr(order, "global_batch_size", None)
            if of_all_ranks is not None and (total := of_all_ranks(batch_idx)) is not None:
                own = len(range(int(total))[self.trainer.global_rank :: self.trainer.world_size])
                # Where a batch is made of other things than the elements that were shared out, they say nothing of it.
                return size * self.trainer.world_size / int(total) if own == size else 1.0
        return 1.0


def at_least_single(tensor: Tensor) -> Tensor:
    """Half precision as float32: a loss of 2.35 computed in bfloat16 is 2.34375, and so is one of 2.347."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Those of a batch that have a length, in nested mappings and sequences."""
    if isinstance(batch, Tensor):
        yield from [batch] if batch.ndim else []
    elif isinstance(batch, Mapping | list | tuple):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _tensors(part)


def _named(name: str, value: Any) -> dict[str, float]:
    """What a metric has computed, by name: a collection gives several, an average of none a value for each class.

    Raises:
        ConfigError: If that is no number, such as a curve.
    """
    try:
        if isinstance(value, Mapping):
            return {key: float(item) for key, item in value.items()}
        flat = torch.as_tensor(value).flatten().tolist()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"metrics.{name}: gives no number by epoch, and can't be logged; leave it out") from error
    return {name: flat[0]} if len(flat) == 1 else {f"{name}/{index}": item for index, item in enumerate(flat)}
