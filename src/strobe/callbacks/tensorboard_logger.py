"""The TensorBoard logger of the shipped config: what makes no curve stays off its cards."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard import FileWriter
from torch.utils.tensorboard.summary import hparams

_ROW = ".hparams"  # how the name of the file ends that holds the run's row in HParams
_CURVES = ("train/", "val/")


class TensorBoard(TensorBoardLogger):
    """Lightning's, for people who look at curves.

    Left out of the scalars are the number of the epoch and what a test measures, a card with a single dot each: that is
    in Text and HParams. Train and validation of a metric have a common card under Custom Scalars.

    Args:
        save_dir: Where the directory of the run is made.
        name: Of a directory between the two; None for none.
        version: Name of the run's directory.
        images: Whether to show what the net sees and, after the test, where it was wrong.
        histograms: Whether to show weights and gradients after each epoch.
        kwargs: Lightning's and, of torch's ``SummaryWriter``, further ones.

    Attributes:
        in_test: Whether a test is under way.
    """

    def __init__(
        self,
        save_dir: str | Path,
        name: str | None = None,
        version: int | str | None = "tensorboard",
        *,
        images: bool = True,
        histograms: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(save_dir, name=name, version=version, **{"default_hp_metric": False, **kwargs})
        self.images = images
        self.histograms = histograms
        self.in_test = False
        self._seen: set[str] = set()
        self._laid_out = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars that make curves."""
        if self.in_test:
            return
        curves = {_as_card(name): value for name, value in metrics.items() if name != "epoch"}
        super().log_metrics(curves, step)
        if not self._laid_out and not self._seen.issuperset(curves):
            self._seen.update(curves)
            self._lay_out()

    @rank_zero_only
    def log_row(self, settings: Mapping[str, bool | int | float | str]) -> None:
        """Write this run's row in HParams, of which TensorBoard takes the last values of the curves for the metrics.

        Args:
            settings: Its columns, of which TensorBoard shows those first that differ between runs.
        """
        self.experiment.flush()  # TensorBoard reads one file after the other, and comes back to none
        for path in Path(self.log_dir).glob(f"events.*{_ROW}"):  # of a run that was resumed: it would go by the first
            path.unlink(missing_ok=True)
        # Without the summary of the experiment: it would fix an order of columns, and hide what other runs have more.
        _, *row = hparams(dict(settings), {})  # type: ignore[no-untyped-call]
        writer = FileWriter(self.log_dir, filename_suffix=_ROW)
        for summary in row:
            writer.add_summary(summary)
        writer.close()

    def _lay_out(self) -> None:
        """Once there is a metric of both: one card for each of those under Custom Scalars."""
        train, val = ({name.removeprefix(split) for name in self._seen if name.startswith(split)} for split in _CURVES)
        both = sorted(train & val)
        if both:
            # TensorBoard takes them for regular expressions that a tag begins with: train/loss_step is another one.
            cards = {name: ["Multiline", [f"{split}{re.escape(name)}$" for split in _CURVES]] for name in both}
            self.experiment.add_custom_scalars({"train and val": cards})
            self._laid_out = True


def _as_card(name: str) -> str:
    """TensorBoard goes by the alphabet: the rate comes after the curves that people look at first."""
    return f"train/{name}" if name == "lr" or name.startswith("lr-") else name
