"""What every job of a sweep asks of a SLURM cluster: checked against its trainer, and written as flags of sbatch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from strobe.errors import ConfigError, require
from strobe.sweeps.job import Demand

_COUNTS = {"nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "gpus_per_node": 0, "timeout_min": 1}
"""The least that a whole number may be."""

_OURS = {
    *("array", "comment", "error", "job-name", "nodes", "ntasks-per-node", "output", "parsable", "signal", "wait"),
    "wrap",
}
"""Flags of sbatch that a sweep needs for itself, or has keys for."""

_FLAGS = ("partition", "account", "qos", "constraint")  # the same words in sbatch and here


@dataclass(frozen=True)
class Resources:
    """Of one job; None leaves a thing to the cluster, or to the job's trainer.

    Attributes:
        nodes: None for ``trainer.num_nodes``.
        tasks_per_node: None for ``trainer.devices``.
        cpus_per_task: Cores of each task.
        gpus_per_node: None for one per task, where the trainer may use GPUs and the partition has some.
        mem_gb: Of each node.
        timeout_min: Time limit in minutes; a run that reaches it saves a checkpoint and is queued again.
        signal_delay_s: Seconds before the limit at which it is told.
        partition: As in sbatch, like the next three.
        account: Whom the time is charged to.
        qos: Quality of service.
        constraint: Features of nodes.
        additional_parameters: Further flags of sbatch.
        setup: Shell lines before the job.
        srun_args: Further flags of srun.
    """

    nodes: int | None = None
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    mem_gb: float | None = None
    timeout_min: int | None = None
    signal_delay_s: int = 90
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)
    setup: Sequence[str] = ()
    srun_args: Sequence[str] = ()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Resources":
        """Of a launcher's settings, of which null ones are as if they were not there.

        Raises:
            ConfigError: If one has no such value.
        """
        known = {each.name for each in fields(cls)}
        if unknown := sorted(settings.keys() - known):
            raise ConfigError(f"hydra.launcher.{unknown[0]}: there is no such setting; there are {', '.join(known)}")
        given = {key: value for key, value in settings.items() if value is not None}
        require(_refusals(given))
        return cls(**given)

    def problem(self, demand: Demand) -> str | None:
        """What contradicts a job's trainer, in a line; None if nothing does."""
        pairs = (
            ("tasks_per_node", self.tasks_per_node, "trainer.devices", demand.devices),
            ("nodes", self.nodes, "trainer.num_nodes", demand.nodes),
        )
        for key, given, of_trainer, wanted in pairs:
            if given not in (None, wanted):
                return f"hydra.launcher.{key}={given}: {of_trainer} is {wanted}; leave it out, or let both be equal"
        gpus = self.gpus_per_node
        if gpus and not demand.gpu:
            return f"hydra.launcher.gpus_per_node={gpus}: trainer.accelerator uses no GPU; leave it out"
        if gpus and gpus != demand.devices:
            return (
                f"hydra.launcher.gpus_per_node={gpus}: trainer.devices is {demand.devices}; "
                f"leave it out, or choose trainer.devices={gpus}"
            )
        return None

    def gpus(self, demand: Demand, has_gpus: bool) -> int:
        """Per node.

        Args:
            demand: Of the job.
            has_gpus: Whether the partition has any.
        """
        if self.gpus_per_node is not None:
            return self.gpus_per_node
        return demand.devices if demand.gpu and has_gpus else 0

    def flags(self, demand: Demand, has_gpus: bool) -> dict[str, Any]:
        """Of sbatch, as they are on its command line; True for a flag without a value."""
        gpus = self.gpus(demand, has_gpus)
        memory = None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M"
        given = {
            "nodes": demand.nodes,
            "ntasks-per-node": demand.devices,
            "cpus-per-task": self.cpus_per_task,
            "gpus-per-node": gpus or None,
            "mem": memory,
            "time": self.timeout_min,
            "signal": f"USR1@{self.signal_delay_s}",
            "requeue": True,
            "open-mode": "append",
            **{flag: getattr(self, flag) for flag in _FLAGS},
            **{str(key).replace("_", "-"): value for key, value in self.additional_parameters.items()},
        }
        return {flag: value for flag, value in given.items() if value is not None}

    @property
    def for_srun(self) -> list[str]:
        """Flags of srun: since 22.05 it doesn't take over sbatch's cores per task."""
        cores = [] if self.cpus_per_task is None else [f"--cpus-per-task={self.cpus_per_task}"]
        return [*cores, *self.srun_args]


def _refusals(given: Mapping[str, Any]) -> list[str]:
    """A line for each value that can't be."""
    lines = []
    for key, least in (*_COUNTS.items(), ("signal_delay_s", 1)):
        if key in given and (type(given[key]) is not int or given[key] < least):
            lines.append(f"hydra.launcher.{key}={given[key]}: must be a whole number of at least {least}, or null")
    memory = given.get("mem_gb", 1)
    if type(memory) not in (int, float) or not memory > 0:
        lines.append(f"hydra.launcher.mem_gb={memory}: must be a number above 0, or null")
    for key in ("setup", "srun_args"):
        texts = given.get(key, [])
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            lines.append(f"hydra.launcher.{key}={given[key]}: must be a list of texts, as in ['module load cuda']")
    delay, limit = given.get("signal_delay_s", 90), given.get("timeout_min")
    if not lines and limit is not None and delay >= 60 * limit:
        lines.append(
            f"hydra.launcher.signal_delay_s={delay}: must be less than the {60 * limit} seconds of timeout_min"
        )
    more = given.get("additional_parameters", {})
    if isinstance(more, Mapping) and (ours := sorted({str(key).replace("_", "-") for key in more} & _OURS)):
        named = ", ".join(ours)
        lines.append(f"hydra.launcher.additional_parameters: {named}: a sweep gives that itself; leave it out")
    if not isinstance(more, Mapping):
        wrong = given["additional_parameters"]
        lines.append(f"hydra.launcher.additional_parameters={wrong}: must be flags of sbatch, as in {{exclude: node7}}")
    return lines
