"""The names in a run directory, and how a run can end; needs no torch."""

from typing import Literal

from strobe.errors import EndStatus

SCHEMA = 1
REPORT = "report.json"
CONFIG = "config.yaml"
EPOCHS = "metrics.csv"
NO_METRICS = ("epoch", "step", "lr", "seconds")  # its other columns
CHECKPOINTS = "checkpoints"
REMOTES = "remotes.json"  # ids of the runs of Weights & Biases, MLflow and so on that show this one
PACKAGES, CHANGES = "packages.txt", "uncommitted.patch"
BEST, LAST = "best.ckpt", "last.ckpt"
WITHIN = ".within.tmp"  # while it is made a best one: of an epoch that no run can be resumed in
STUDY = "optuna.log"  # of a search, in its sweep's directory
PLACE = "optuna.json"  # in its stead, where the study is in a database
STORAGE_VARIABLE = "STROBE_STORAGE"  # of the environment, which jobs inherit: that database's URL, with its password
BENCHMARK = ".benchmark"  # beside a report.json that is that of no run
TOKEN = ".sweep"  # tells a sweep's directory from any other

Status = EndStatus | Literal["running", "completed", "died", "waiting"]
"""As in a report; ``died``: it says running, and its process is gone. ``waiting``: a job of a sweep without one."""

# How a run can end, by what it means for a sweep.
SUCCEEDED: tuple[Status, ...] = ("completed", "pruned")
FAILED: tuple[Status, ...] = ("failed", "diverged", "oom")
STOPPED: tuple[Status, ...] = ("preempted", "interrupted")  # to be resumed

Mode = Literal["min", "max"]

FormatName = Literal["onnx", "torch_export", "torchscript"]
FORMATS: dict[FormatName, str] = {"onnx": ".onnx", "torch_export": ".pt2", "torchscript": ".ts"}
"""Names of the formats that a net is exported in, with the ending of their files."""
