"""One job of a sweep: a run to be, and what is known of it while the sweep goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from strobe.record.layout import Status

Plan = Literal["run", "resume", "rejoin", "watch", "skip"]


@dataclass(frozen=True)
class Demand:
    """What a job takes of the place where it runs.

    Attributes:
        devices: Processes, each on a device of its own, per node.
        nodes: Machines at once.
        gpu: Whether the devices are GPUs, or may be.
    """

    devices: int = 1
    nodes: int = 1
    gpu: bool = False

    @classmethod
    def of(cls, trainer: Mapping[str, Any]) -> "Demand":
        """Of the trainer node of a job's config."""
        devices, nodes = trainer.get("devices"), trainer.get("num_nodes")
        if isinstance(devices, Sequence) and not isinstance(devices, str):  # a list of a config is no list
            devices = len(devices)
        return cls(
            devices=devices if type(devices) is int and devices > 0 else 1,
            nodes=nodes if type(nodes) is int and nodes > 0 else 1,
            gpu=trainer.get("accelerator") in ("auto", "gpu", "cuda"),
        )


@dataclass(eq=False)
class Job:
    """One run of a sweep; equal to nothing but itself.

    Attributes:
        number: Counts from 0.
        overrides: What is typed after ``python -m src.train``.
        varying: Those of them in which jobs differ.
        directory: Its run directory.
        hash: Of its config.
        demand: What it takes of the place where it runs.
        plan: ``run`` it, ``resume`` it from its checkpoint, ``rejoin`` it where an earlier driver has started it,
            ``watch`` it because another process seems to train it, or ``skip`` it.
        status: As in its report; ``waiting`` and ``running`` before it has one.
        objective: Once it is known.
        error: What went wrong, if anything did.
        environment: Variables for its process.
        began: Whether this sweep has started it, or taken it over.
        retries: How often it was lost and begun again.
    """

    number: int
    overrides: list[str]
    varying: list[str]
    directory: Path
    hash: str
    demand: Demand = field(default_factory=Demand)
    plan: Plan = "run"
    status: Status = "waiting"
    objective: float | None = None
    error: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    began: bool = False
    retries: int = 0
