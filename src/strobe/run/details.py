"""What a test shows beyond its means: which classes are taken for which, how sure the net is, where it is wrong."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error, r2_score

from strobe.errors import ConfigError
from strobe.record.config_file import plain_values, read_config
from strobe.record.details import Bin, ClassDetails, Details, Number, NumberDetails
from strobe.record.layout import BEST
from strobe.run.evaluation import prepared, tested
from strobe.run.parts import facts_of
from strobe.tasks.means import WIDEST
from strobe.tasks.outcomes import Surest, class_names, confusion, named, pixels
from strobe.tasks.task import Task

BINS = 15
_POINTS = 2000
_POINTS_OF_ALL = 200_000  # of all numbers together, some 10 MB
_LEAST = 4  # pixels, of an image

_POSSIBLE = "there are details of classifiers (one class of several) and of regressions"


@dataclass(frozen=True)
class Tested:
    """A test and what it showed.

    Attributes:
        metrics: What the task logs, as `evaluate` gives it.
        details: What it showed beyond that.
        predictions: One row for each example, by column.
    """

    metrics: dict[str, float]
    details: Details
    predictions: Mapping[str, Sequence[int | float | str]]


def evaluate_in_detail(
    directory: Path,
    overrides: Sequence[str] = (),
    checkpoint: str = BEST,
    trust: Sequence[str] = (),
    *,
    download: bool = True,
) -> Tested:
    """Measure a checkpoint on the test split as `evaluate` does, and look at each example; writes nothing.

    Args:
        directory: The run directory.
        overrides: Changes to the run's config.
        checkpoint: File under ``checkpoints/``.
        trust: Packages that the config may name classes of although this user has not signed it.
        download: False: of data that may be fetched, only what is there is used.

    Raises:
        ConfigError: Where `evaluate` raises it, if the task is neither a classification nor a regression, if its
            ``test_step`` is not one ``step``, or if there is nothing to test on.
        CheckpointError: If the checkpoint can't be used.
        DatasetError: If the data is not there.
    """
    further = [] if download or not _may_download(directory) else ["data.download=false"]
    trainer, model, data = prepared(directory, [*overrides, *further], checkpoint, trust)
    if not isinstance(model, Task):
        raise ConfigError(f"{directory}: {type(model).__name__} is no Task of strobe, whose step tells preds and target"
                          f": {_POSSIBLE}")  # fmt: skip
    seen = _Seen(type(model).__name__, independent=bool(getattr(model, "several_labels", False)))
    model.step = seen.watching(model.step)  # type: ignore[method-assign,assignment]  # of this instance, for one test
    model.test_step = seen.counting(model.test_step)  # type: ignore[method-assign]
    metrics = tested(trainer, model, data)
    if seen.count == 0:
        raise ConfigError(f"{directory}: its test split holds no examples, and there is nothing to look at")
    facts = facts_of(data)
    if seen.of_classes:
        classes, predictions = _classes(seen, facts)
        return Tested(metrics, Details(checkpoint, tuple(overrides), classes=classes), predictions)
    numbers, predictions = _numbers(seen, facts)
    return Tested(metrics, Details(checkpoint, tuple(overrides), numbers=numbers), predictions)


def _may_download(directory: Path) -> bool:
    data = plain_values(read_config(directory)).get("data")
    return isinstance(data, Mapping) and data.get("download") is True


class _Seen:
    """The outputs and targets of a test, batch by batch, and the inputs of the surest mistakes.

    Args:
        task: The name of the task's class.
        independent: Whether each class has a probability of its own, as the binary cross-entropy has it.
    """

    def __init__(self, task: str, *, independent: bool) -> None:
        self.task = task
        self.independent = independent
        self.of_classes = True
        self.outputs = 0
        self.count = 0
        self.columns: dict[str, list[Tensor]] = {}
        self.surest = Surest()
        self._steps = 0  # of the batch that is tested

    def watching(self, step: Callable[[Any], Mapping[str, Any]]) -> Callable[[Any], Mapping[str, Any]]:
        """The same step, whose results are noted."""

        def watched(batch: Any) -> Mapping[str, Any]:
            values = step(batch)
            preds, target = values.get("preds"), values.get("target")
            if not isinstance(preds, Tensor) or not isinstance(target, Tensor):
                raise ConfigError(f"{self.task}.step gives no tensors 'preds' and 'target': {_POSSIBLE}")
            self._note(batch, preds.detach(), target.detach())
            self._steps += 1
            return values

        return watched

    def counting(self, test_step: Callable[..., Any]) -> Callable[..., Any]:
        """The same test step, which has to be one step: else what is noted isn't what its metrics are of."""

        def counted(*arguments: Any, **keywords: Any) -> Any:
            self._steps = 0
            result = test_step(*arguments, **keywords)
            if self._steps != 1:
                raise ConfigError(
                    f"{self.task}.test_step calls step {self._steps} times for a batch: there are details where it "
                    "does so once, as that of strobe's Task"
                )
            return result

        return counted

    def _note(self, batch: Any, preds: Tensor, target: Tensor) -> None:
        if preds.ndim == 2 and target.shape == preds.shape[:1] and not target.is_floating_point():
            columns = self._named(batch, preds, target)
        elif target.is_floating_point() and preds.shape == target.shape and target.ndim in (1, 2):
            self.of_classes, self.outputs = False, 1 if target.ndim == 1 else target.shape[1]
            columns = {"true": target.to(WIDEST).reshape(len(target), -1), "predicted": preds.to(WIDEST).reshape(
                len(target), -1)}  # fmt: skip
        else:
            raise ConfigError(
                f"{self.task} gives preds {tuple(preds.shape)} for targets {tuple(target.shape)} of {target.dtype}, "
                f"and {_POSSIBLE}"
            )
        for name, column in columns.items():
            self.columns.setdefault(name, []).append(column.cpu())
        self.count += len(target)

    def _named(self, batch: Any, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The class that each example is taken for, with probabilities; keeps the surest mistakes."""
        self.outputs = logits.shape[1]
        outcome = named(logits, labels, independent=self.independent)
        self.surest.add(batch, outcome, self.count)
        return {
            "true": labels,
            "predicted": outcome.predicted,
            "probability": outcome.sure,
            "probability_of_true": outcome.of_true,
        }


def _classes(seen: _Seen, facts: Mapping[str, Any]) -> tuple[ClassDetails, dict[str, Sequence[int | float | str]]]:
    columns = {name: torch.cat(parts) for name, parts in seen.columns.items()}
    true, predicted, sure = columns["true"], columns["predicted"], columns["probability"]
    names = class_names(facts, seen.outputs)
    known = (true >= 0) & (true < seen.outputs)  # a loss may leave out a label such as -100
    right = predicted == true
    bins = _bins(sure[known], right[known])
    ece = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / max(1, int(known.sum()))
    details = ClassDetails(
        seen.count,
        int(right.sum()),
        tuple(names),
        confusion(true[known], predicted[known], seen.outputs),
        ece,
        bins,
        tuple(replace(mistake, picture=_picture(example, facts)) for mistake, example in seen.surest.found),
    )
    labels = true.tolist()
    return details, {
        "index": range(seen.count),
        "true": [names[label] if 0 <= label < len(names) else "" for label in labels],
        "predicted": [names[label] for label in predicted.tolist()],
        "probability": [round(value, 6) for value in sure.tolist()],
        "probability_of_true": [
            round(value, 6) if is_known else float("nan")
            for value, is_known in zip(columns["probability_of_true"].tolist(), known.tolist(), strict=True)
        ],
    }


def _bins(sure: Tensor, right: Tensor) -> tuple[Bin, ...]:
    """Examples by confidence, in bins of equal width: a confidence on an edge is of the bin below.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599.
    """
    finite = sure.isfinite()
    edges = torch.linspace(0, 1, BINS + 1, dtype=sure.dtype)[1:-1]
    places = torch.bucketize(sure[finite], edges)
    counts = torch.bincount(places, minlength=BINS)
    confidence, accuracy = (
        torch.bincount(places, weights=values[finite].double(), minlength=BINS) / counts.clamp(min=1)
        for values in (sure, right)
    )
    return tuple(map(Bin, counts.tolist(), confidence.tolist(), accuracy.tolist()))


def _numbers(seen: _Seen, facts: Mapping[str, Any]) -> tuple[NumberDetails, dict[str, Sequence[int | float | str]]]:
    true, predicted = (torch.cat(seen.columns[name]) for name in ("true", "predicted"))
    target = facts.get("target")
    given = [target] if isinstance(target, str) else target if isinstance(target, list) else []
    names = [str(name) for name in given] if len(given) == seen.outputs else list(map(str, range(seen.outputs)))
    if seen.outputs == 1 and not given:
        names = ["target"]
    kept = min(seen.count, _POINTS, _POINTS_OF_ALL // max(1, seen.outputs))
    thinned = torch.linspace(0, seen.count - 1, kept, dtype=torch.float64).long()
    numbers = []
    predictions: dict[str, Sequence[int | float | str]] = {"index": range(seen.count)}
    for column, name in enumerate(names):
        of_true, of_predicted = true[:, column].contiguous(), predicted[:, column].contiguous()
        varied = seen.count > 1 and bool(of_true.max() > of_true.min())
        points = torch.stack([of_true, of_predicted], dim=1)[thinned].tolist()
        numbers.append(
            Number(
                name,
                mae=float(mean_absolute_error(of_predicted, of_true)),
                rmse=float(mean_squared_error(of_predicted, of_true, squared=False)),
                r2=float(r2_score(of_predicted, of_true)) if varied else None,
                points=tuple((first, second) for first, second in points),
            )
        )
        ending = f"_{name}" if len(names) > 1 else ""
        predictions |= {f"true{ending}": of_true.tolist(), f"predicted{ending}": of_predicted.tolist()}
    return NumberDetails(seen.count, tuple(numbers)), predictions


def _picture(example: Tensor | None, facts: Mapping[str, Any]) -> bytes | None:
    """A PNG of an input, ``(C, H, W)``, as it was before its normalization; None if that is no image."""
    if example is None or example.shape[0] not in (1, 3) or min(example.shape[1:]) < _LEAST:
        return None
    array = (pixels(example, facts) * 255).round().byte().numpy()
    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
