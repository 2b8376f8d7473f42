"""Test a run's best checkpoint again: `python -m src.evaluate <run dir> [--json] [overrides]`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from src.cli import exit_code
from src.errors import ConfigError
from src.record import BEST, CHECKPOINTS
from src.saved import saved_config

_ONE_DEVICE = ("trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto", "trainer.sync_batchnorm=false")


def evaluate(directory: Path, overrides: Sequence[str] = (), checkpoint: str = BEST) -> dict[str, float]:
    """Measure a checkpoint on the official test images, on one device, whatever it was trained on; writes nothing.

    Args:
        directory: The run directory.
        overrides: Changes to the run's config, such as ``trainer.accelerator=cpu``.
        checkpoint: File under ``checkpoints/``.

    Returns:
        ``test/loss`` and ``test/acc``.

    Raises:
        ConfigError: If the directory is no run, or an override is wrong.
        CheckpointError: If the checkpoint can't be used.
    """
    changes = list(_ONE_DEVICE)
    if saved_config(directory).trainer.accelerator != "cpu":
        changes.append("trainer.accelerator=auto")  # the machine may be another one
    fixed = {change.partition("=")[0] for change in _ONE_DEVICE}
    if several := [override for override in overrides if override.partition("=")[0] in fixed]:
        raise ConfigError(f"{several[0]}: an evaluation runs on one device; leave it out")
    cfg = saved_config(directory, [*changes, *overrides])
    from src.build import build_data, build_model, build_trainer
    from src.checkpoints import load_weights
    from src.prepare import settle_process
    from src.targets import problems_with_libraries

    if wrong := problems_with_libraries(cfg):
        raise ConfigError("\n".join(wrong))
    settle_process(cfg)
    data = build_data(cfg)
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = build_trainer(cfg, directory, [], [], **quiet, fast_dev_run=False, barebones=False)
    model = build_model(cfg, data, trainer)
    load_weights(model, directory / CHECKPOINTS / checkpoint)
    trainer.test(model, datamodule=data, verbose=False)
    return {name: value for name, value in model.epoch_metrics.items() if name.startswith("test/")}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m src.evaluate", description=__doc__)
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("overrides", nargs="*", help="changes to the run's config, as in trainer.accelerator=cpu")
    parser.add_argument("--checkpoint", default=BEST, help="a file under checkpoints/ (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_intermixed_args(arguments)
    try:
        metrics = evaluate(options.run, options.overrides, options.checkpoint)
    except (Exception, KeyboardInterrupt) as error:
        return exit_code(error)
    if options.json:
        print(json.dumps(metrics))
    else:
        for name, value in sorted(metrics.items()):
            print(f"{name}  {value!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
