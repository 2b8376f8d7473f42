"""What holds for the whole process of a run: its seeds, the noise of libraries, the cost of looking for a GPU."""

import logging
import os
import warnings
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from strobe.machine.rank import end_with_parent, process_rank

EXPECTED_WARNINGS = (
    ".*does not have many workers.*",  # of torch's loader: what it serves is in memory
    ".*is smaller than the logging interval.*",
    ".*ended before the epoch ended and your dataloader is not resumable.*",  # it is: see ImageDataModule.state_dict
    ".*callbacks used to create the checkpoint need to be provided.*",  # they are, unless a person took one out
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",  # inside Lightning 2.6
    ".*Total length of `MemoryLoader` across ranks is zero.*",  # fast_dev_run validates although data.val_size=0
    ".*It is recommended to use `self.log\\(.*sync_dist=True.*",  # the metrics are reduced over ranks already
    ".*The `srun` command is available on your system but is not used.*",  # on a machine with SLURM's client
    ".*GPU available but not used.*",  # the CPU was asked for
    ".*`nn.Module` and is already saved during checkpointing.*",  # by save_hyperparameters, which checkpoints leave out
    ".*AMP with fp16 is not supported on CPU.*",  # `announce` says what is done instead
)
"""Warnings of libraries about things that are as they should be here."""


_ASKED_FOR = ("callbacks", "tuner", "profilers")
"""Parts of Lightning that nothing uses but what a person has named: a callback, a finder, a profiler."""


def settle_process(*, seed: int, matmul_precision: str) -> None:
    """Set it, before anything of a run is built.

    Args:
        seed: Of every random stream, on every rank.
        matmul_precision: See `torch.set_float32_matmul_precision`.
    """
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    logging.captureWarnings(True)
    if process_rank() > 0:
        end_with_parent()
        for handler in logging.getLogger().handlers:  # the log file gets everything, the terminal rank 0 alone
            if type(handler) is logging.StreamHandler:
                handler.setLevel(logging.ERROR)
    let_lightning_say_what_was_asked()
    if torch.cuda.device_count() == 0:
        # On a CUDA build without a GPU every optimizer step asks the driver anew, a quarter of a small net's step:
        # Lightning makes torch ask through NVML, which has to be loaded. With no device visible nothing is asked.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_float32_matmul_precision(matmul_precision)
    seed_everything(seed, workers=True, verbose=False)


def let_lightning_say_what_was_asked() -> None:
    """Have Lightning's notices of its own affairs kept quiet, but not those of what a person has named in a config.

    That a GPU is not there, or which limit has ended the fit, the run's own lines say. That EarlyStopping has seen an
    improvement (``verbose: true``), what a finder has found, and the summary of a model are what was asked for.
    """
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for part in _ASKED_FOR:
        logging.getLogger(f"lightning.pytorch.{part}").setLevel(logging.INFO)
    # All that says something on one rank alone shares a logger; the file that a notice comes from tells whose it is.
    shared = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    shared.setLevel(logging.INFO)
    if _is_asked_for not in shared.filters:
        shared.addFilter(_is_asked_for)


def _is_asked_for(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or Path(record.pathname).parent.name in _ASKED_FOR
