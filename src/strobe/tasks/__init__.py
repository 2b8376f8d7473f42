"""What is learned: LightningModules that turn batches into losses and metrics."""

from strobe.tasks.task import Task

__all__ = ["Task"]
