"""What happens around a run: the process it runs in, where it resumes, what it says at its beginning and end."""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from omegaconf import DictConfig

from src.build import Run, build_data, build_net
from src.checkpoints import load_checkpoint, newest_checkpoint, state_problems
from src.errors import CheckpointError, ConfigError
from src.ranks import end_with_parent, process_rank
from src.record import CHECKPOINTS, RunRecord, read_report

log = logging.getLogger(__name__)

# Warnings of libraries about things that are as they should be here.
_EXPECTED = (
    ".*does not have many workers.*",  # the in-memory loader needs none
    ".*is smaller than the logging interval.*",
    ".*ended before the epoch ended and your dataloader is not resumable.*",  # it is: see ImageDataModule.state_dict
    ".*logger provided; .* not logged.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",  # inside Lightning 2.6
    ".*Trying to infer the `batch_size` from an ambiguous collection.*",
    ".*Starting from v1.9.0, `tensorboardX` has been removed.*",
    ".*Total length of `MemoryLoader` across ranks is zero.*",  # fast_dev_run validates although data.val_size=0
    ".*It is recommended to use `self.log\\(.*sync_dist=True.*",  # the metrics are reduced over ranks already
    ".*AMP with fp16 is not supported on CPU.*",  # `announce` says what is done instead
    ".*No device id is provided via `init_process_group`.*",
)


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on."""

    checkpoint: Path
    step: int
    trained: bool  # all that is left is the test


def settle_process(cfg: DictConfig) -> None:
    """Set what holds for the whole process: seeds, the noise of libraries, the cost of looking for a GPU."""
    for message in _EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    logging.captureWarnings(True)
    if process_rank() > 0:
        end_with_parent()
        for handler in logging.getLogger().handlers:  # the log file gets everything, the terminal rank 0 alone
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if torch.cuda.device_count() == 0:
        # On a CUDA build without a GPU every optimizer step asks the driver anew, a quarter of a small net's step:
        # Lightning makes torch ask through NVML, which has to be loaded. With no device visible nothing is asked.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_float32_matmul_precision(cfg.get("matmul_precision", "highest"))  # a run from before the key was lacks it
    seed_everything(cfg.seed, workers=True, verbose=False)


def resume_point(cfg: DictConfig, directory: Path) -> ResumePoint | None:
    """Where to go on, or None for a new run.

    Raises:
        ConfigError: If the directory is no run, or the run has trained as long as the config asks for.
        CheckpointError: If no checkpoint is usable.
    """
    if cfg.resume is None:
        return None
    report = read_report(directory)
    path = newest_checkpoint(directory / CHECKPOINTS)
    checkpoint = load_checkpoint(path)
    _require_same_model(cfg, path, checkpoint)
    epochs = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    step = int(checkpoint["global_step"])
    max_epochs, max_steps = cfg.trainer.max_epochs, cfg.trainer.max_steps
    enough_epochs = max_epochs not in (None, -1) and epochs >= max_epochs
    enough_steps = max_steps not in (None, -1) and step >= max_steps
    trained = enough_epochs or enough_steps
    if trained and report["status"] == "completed":
        done, longer = f"{epochs} of {max_epochs} epochs", f"trainer.max_epochs={epochs + 5}"
        if enough_steps:
            done, longer = f"{step} of {max_steps} steps", f"trainer.max_steps={2 * step}"
        raise ConfigError(f"{directory} has trained {done}, so there is nothing to resume: train longer with {longer}")
    log.info("Resuming %s %s", directory, "at its test" if trained else f"at epoch {epochs + 1}, step {step}")
    return ResumePoint(path, step, trained)


def _require_same_model(cfg: DictConfig, path: Path, checkpoint: dict[str, Any]) -> None:
    """Compare a checkpoint with the config before anything of the run is touched.

    Raises:
        CheckpointError: If net or optimizer differ.
    """
    data = build_data(cfg)
    net = build_net(cfg, in_shape=data.in_shape, num_classes=data.num_classes)
    own = {f"net.{key}": value for key, value in net.state_dict().items()}
    if problems := state_problems(own, checkpoint["state_dict"]):
        raise CheckpointError(f"{path} does not fit the config's model: {'; '.join(problems)}")
    wanted = str(cfg.optimizer["_target_"]).rpartition(".")[2]
    if checkpoint.get("optimizer") != wanted:
        raise CheckpointError(
            f"{path} was made with the optimizer {checkpoint.get('optimizer')}, the config names {wanted}: "
            "a run goes on with the optimizer it has"
        )


def announce(run: Run, record: RunRecord) -> None:
    """Say what is about to be trained, and where the machine makes something else of the request."""
    effective, requested = record.report["effective"], record.report["requested"]
    if not run.trainer.is_global_zero:
        return
    devices = (
        f"{effective['world_size']} x {effective['accelerator']}"
        if effective["world_size"] > 1
        else effective["accelerator"]
    )
    log.info(
        "%s on %s: %s parameters, %s, precision %s",
        type(run.model.net).__name__,
        run.data.dataset.title,
        f"{record.report['parameters']:,}",
        devices,
        effective["precision"],
    )
    if not _granted(requested["precision"], effective["precision"]):
        asked, precision = requested["precision"], effective["precision"]
        log.info("precision %s is not to be had on %s: training in %s", asked, devices, precision)


def closing_table(record: RunRecord) -> str:
    """What a person wants to know at the end, and the commands that come next."""
    report = record.report
    metrics, effective, timing = report["metrics"], report["effective"], report["timing"]
    asked, precision = report["requested"]["precision"], effective["precision"]
    if not _granted(asked, precision):
        precision = f"{precision} (asked for {asked})"
    rows: list[tuple[str, Any]] = []
    if "test/acc" in metrics:
        rows += [("test accuracy", f"{metrics['test/acc']:.4f}"), ("test loss", f"{metrics['test/loss']:.4f}")]
    if (best := report["best"]) is not None and best["value"] is not None:
        rows += [(f"best {best['metric']}", f"{best['value']:.4f} (epoch {best['epoch'] + 1})")]
    rows += [
        ("time", f"{timing['total_s']:.1f} s, of which training {timing['train_s']:.1f} s"),
        ("device", f"{effective['world_size']} x {effective['accelerator']}, precision {precision}"),
        ("run directory", _shown(record.directory)),
    ]
    width = max(len(label) for label, _ in rows)
    table = "\n".join(f"  {label:<{width}}  {value}" for label, value in rows)
    directory = _shown(record.directory)
    return f"\n{table}\n\nNext:\n  tensorboard --logdir {directory}\n  python -m src.evaluate {directory}\n"


def _granted(asked: object, precision: str) -> bool:
    return str(asked) in ("None", precision, precision.removesuffix("-true"))


def _shown(path: Path) -> str:
    """Relative to where the person is, if that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
