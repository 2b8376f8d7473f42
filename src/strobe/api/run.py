"""`strobe.load_run`: a run's directory as an object: its config, report, epochs, net, predictions."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from omegaconf import DictConfig

from strobe.api.composing import typed_of
from strobe.api.evaluation import Evaluation
from strobe.api.given_back import given_back
from strobe.api.picture import Picture
from strobe.api.table import Table
from strobe.commands.run_argument import require_run
from strobe.commands.shorthand import latest_or
from strobe.config.saved import saved_config
from strobe.config.strangers import Allowed
from strobe.errors import ConfigError
from strobe.machine.transient import doing
from strobe.record.epochs import read_numbers
from strobe.record.layout import BEST
from strobe.record.report import Report, read_report

if TYPE_CHECKING:
    from torch import nn

    from strobe.run.saved import SavedNet

_FLAGS = {"--as-is": "as_is=True", "--invert": "invert=True", "--top ": "top="}


class Run:
    """A run: all of it is read from its directory when it is asked for.

    Args:
        directory: The run directory.
        trust: Packages that its config may name classes of although you have not signed it.

    Attributes:
        directory: The run directory.

    Raises:
        ConfigError: If it is no run directory.

    Example:
        >>> run = strobe.load_run("outputs/first")
        >>> run.status, run.config.model.hidden
        ('completed', [32])
        >>> run.metrics.columns
        ['epoch', 'step', 'val/loss', 'val/acc', 'train/loss', 'train/acc', 'lr', 'seconds']
    """

    def __init__(self, directory: str | Path, trust: Sequence[str] = ()) -> None:
        self.directory = Path(directory)
        self.trust = tuple(trust)
        require_run(self.directory, "evaluate")
        read_report(self.directory)

    @property
    def report(self) -> Report:
        """What `report.json` says now."""
        return read_report(self.directory)

    @property
    def status(self) -> str:
        """How it ended; `running` while it is at work."""
        return self.report["status"]

    @property
    def config(self) -> DictConfig:
        """Its config; that of someone else's run only if it names nothing that `trust` does not allow.

        Raises:
            ConfigError: If it is damaged, or not to be trusted.
        """
        return saved_config(self.directory, allowed=Allowed.of(self.trust))

    @property
    def metrics(self) -> Table:
        """A row for each epoch."""
        return Table(read_numbers(self.directory))

    @property
    def net(self) -> "nn.Module":
        """The net of the best checkpoint, in evaluation mode on the CPU; its inputs are normalized ones.

        Raises:
            ConfigError: If it can't be built any more, or is not to be trusted.
            CheckpointError: If the checkpoint can't be used.
        """
        return self._saved.net

    @property
    def curves(self) -> Picture:
        """Loss and the monitored metric over the epochs."""
        from strobe.callbacks.curves import curves, png  # matplotlib: for who wants to see them

        return Picture(png(curves(read_numbers(self.directory), self._monitor)))

    @overload
    def evaluate(self, details: Literal[False] = False, overrides: Sequence[str] = ()) -> dict[str, float]: ...

    @overload
    def evaluate(self, details: Literal[True], overrides: Sequence[str] = ()) -> Evaluation: ...

    def evaluate(self, details: bool = False, overrides: Sequence[str] = ()) -> dict[str, float] | Evaluation:
        """Measure the best checkpoint on the test split, on one device; writes nothing.

        Args:
            details: Whether to look at every example: predictions, confusion, the surest mistakes.
            overrides: Changes to the run's config, such as `trainer.accelerator=cpu`.

        Returns:
            The numbers; with details, an `Evaluation` that has them as `.metrics`.

        Raises:
            ConfigError: If its config is not to be trusted, or an override is wrong.
            CheckpointError: If the checkpoint can't be used.

        Example:
            >>> run = strobe.load_run("outputs/first")
            >>> run.evaluate()["test/acc"] == run.report["metrics"]["test/acc"]
            True
            >>> looked_at = run.evaluate(details=True)
            >>> looked_at.predictions.columns
            ['index', 'true', 'predicted', 'probability', 'probability_of_true']
        """
        overrides = typed_of(overrides)
        with given_back([str(self.directory), *overrides]), doing("testing"):
            from strobe.run.details import evaluate_in_detail
            from strobe.run.evaluation import evaluate

            if not details:
                return evaluate(self.directory, overrides, BEST, self.trust)
            tested = evaluate_in_detail(self.directory, overrides, BEST, self.trust)
        columns = list(tested.predictions)
        rows = zip(*tested.predictions.values(), strict=True)
        predictions = Table((dict(zip(columns, row, strict=True)) for row in rows), columns)
        return Evaluation(tested.metrics, predictions, tested.details)

    def predict(self, pictures: Any, top: int = 1, *, as_is: bool = False, invert: bool = False) -> Table:
        """The likeliest classes of pictures, which are prepared first as the training images were.

        Args:
            pictures: A path, a directory, a pattern such as `"digits/*.png"`, a picture of Pillow, an array or tensor
                of uint8 `(H, W)`, `(C, H, W)` or `(H, W, C)`, a batch of such, or a list of any of these.
            top: How many classes to name of each.
            as_is: Whether to scale pictures and do nothing else.
            invert: Whether to swap dark and light first, where pictures are not prepared.

        Returns:
            A row for each picture: `file`, `class`, `probability`; then `class_2`, `probability_2` and so on.

        Raises:
            ConfigError: If a picture can't be read, or the run does not name the class of pictures.
            CheckpointError: If the checkpoint can't be used.

        Example:
            >>> import numpy
            >>> run = strobe.load_run("outputs/first")
            >>> picture = numpy.zeros((28, 28), dtype="uint8")
            >>> picture[2:7, 1:6] = 255  # where the data set that this is tested on has its zeros
            >>> table = run.predict(picture, top=2)
            >>> table.columns
            ['file', 'class', 'probability', 'class_2', 'probability_2']
        """
        from strobe.api.pictures import as_files  # torch
        from strobe.run.prediction import predict

        if type(top) is not int:
            raise ConfigError(f"top={top!r}: must be a whole number, how many classes to name of each picture")
        saved = self._saved
        saved.require_pictures()
        with as_files(pictures) as files:
            try:
                found = predict(
                    saved, list(dict.fromkeys(file for file, _ in files)), invert=invert, as_is=as_is, top=top
                )
            except ConfigError as error:
                raise ConfigError(_in_python(str(error))) from None
        if found.refused:
            names = dict(files)
            raise ConfigError("\n".join(f"{names[file]}: {_in_python(reason)}" for file, reason in found.refused))
        if found.dark_on_light * 2 > len(found.pictures):
            way_out = "leave out as_is=True, or add invert=True" if as_is else "try invert=True"
            warnings.warn(
                f"these pictures are dark on light, the training images light on dark: {way_out}", stacklevel=2
            )
        chosen = {picture["file"]: picture.get("top", []) for picture in found.pictures}
        rows = []
        for file, name in files:  # the same one may have been given twice
            row: dict[str, Any] = {"file": name}
            for rank, choice in enumerate(chosen[str(file)], start=1):
                ending = f"_{rank}" if rank > 1 else ""
                row |= {f"class{ending}": choice["class"], f"probability{ending}": choice["probability"]}
            rows.append(row)
        return Table(rows)

    @cached_property
    def _saved(self) -> "SavedNet":
        from strobe.run.saved import saved_net  # torch

        return saved_net(self.directory, BEST, self.trust)

    @property
    def _monitor(self) -> str | None:
        best = self.report.get("best")
        return best["metric"] if best else self.report.get("objective_metric")

    @property
    def _facts(self) -> dict[str, Any]:
        report = self.report
        best = report.get("best")
        facts: dict[str, Any] = {"directory": str(self.directory), "status": report["status"]}
        if best and best["value"] is not None:
            facts[f"best {best['metric']}"] = f"{best['value']:.4f} (epoch {best['epoch'] + 1})"
        tested = {name: value for name, value in report.get("metrics", {}).items() if name.startswith("test")}
        facts |= {name: f"{value:.4f}" for name, value in sorted(tested.items())}
        if overrides := report.get("overrides"):
            facts["overrides"] = " ".join(overrides)
        error = report.get("error")
        return facts | ({"error": error["message"]} if error else {})

    def __repr__(self) -> str:
        return f"Run({', '.join(f'{name}: {value}' for name, value in self._facts.items())})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        left = "style='text-align: left'"
        rows = "".join(
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(str(value))}</td></tr>"
            for name, value in self._facts.items()
        )
        return f"<table>{rows}</table>"


def load_run(directory: str | Path = "latest", trust: Sequence[str] = ()) -> Run:
    """A run that is there already.

    Args:
        directory: The run directory; `latest` is the newest below `outputs/`.
        trust: Packages that its config may name classes of, of a run of someone else's; see `strobe trust`.

    Raises:
        ConfigError: If it is no run directory, or there is no run yet.

    Example:
        >>> strobe.load_run("outputs/first").status
        'completed'
    """
    return Run(latest_or(str(directory)) if str(directory) == "latest" else Path(directory).expanduser(), trust)


def _in_python(text: str) -> str:
    """A command's advice in Python's words."""
    for flag, argument in _FLAGS.items():
        text = text.replace(flag, argument)
    return text
