"""What each job gets of a Ray cluster's nodes, and how many of them fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from strobe.sweeps.job import Demand
from strobe.sweeps.slots import wrong_slots

_GIB = 2**30


@dataclass(frozen=True)
class Share:
    """A job's part of a node.

    Attributes:
        num_cpus: None is one per device.
        num_gpus: None is one per device, where the cluster has any and the trainer may use them.
        memory_gb: None reserves nothing.
        resources: By the cluster's own names.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory_gb: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    def needs(self, demand: Demand, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """What a job takes of a node, by Ray's names.

        Args:
            demand: The job's.
            nodes: What each node of the cluster has.
        """
        cpus = demand.devices if self.num_cpus is None else self.num_cpus
        gpus = self.num_gpus
        if gpus is None:
            gpus = demand.devices if demand.gpu and any(node.get("GPU", 0) for node in nodes) else 0
        amounts = {"CPU": cpus, "GPU": gpus, "memory": (self.memory_gb or 0) * _GIB, **self.resources}
        return {name: float(amount) for name, amount in amounts.items() if amount}

    def options(self, demand: Demand, nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """The same, as arguments of `ray.remote`."""
        needs = self.needs(demand, nodes)
        named = {"num_cpus": needs.pop("CPU", 0), "num_gpus": needs.pop("GPU", 0), "memory": needs.pop("memory", None)}
        return {**named, "resources": needs}

    def threads(self, demand: Demand) -> int:
        """Of each process of a job."""
        cpus = demand.devices if self.num_cpus is None else self.num_cpus
        return max(1, int(cpus / demand.devices))

    def problem(self, demand: Demand, nodes: Sequence[Mapping[str, float]]) -> str | None:
        """Why no node could ever hold a job, in a line; None if one can."""
        if demand.nodes > 1:
            return f"a Ray job is on one node: trainer.num_nodes={demand.nodes} needs hydra/launcher=slurm"
        needs = self.needs(demand, nodes)
        if any(_count(needs, node) for node in nodes):
            return None
        largest = {name: max((node.get(name, 0) for node in nodes), default=0) for name in needs}
        return (
            f"no node of the Ray cluster has the {_in_words(needs)} that each job takes, "
            f"the most is {_in_words(largest)}: choose fewer trainer.devices, "
            "or other hydra.launcher.num_cpus, num_gpus, memory_gb or resources"
        )

    def room(self, demand: Demand, nodes: Sequence[Mapping[str, float]]) -> list[int]:
        """How many jobs each node holds at once, of those that hold any."""
        needs = self.needs(demand, nodes)
        return [count for node in nodes if (count := _count(needs, node))]


def wrong_settings(address: Any, slots: Any, numbers: Mapping[str, Any], resources: Any, runtime_env: Any) -> list[str]:
    """What can't be among the arguments of the launcher, a line each."""
    wrong = []
    if not isinstance(address, str) or not address:
        wrong.append(f"hydra.launcher.address={address}: must be auto, local, <host>:<port> or ray://<host>:<port>")
    wrong += wrong_slots(slots)
    for name, value in numbers.items():
        if value is not None and not _is_amount(value):
            wrong.append(f"hydra.launcher.{name}={value}: must be a number of at least 0, or null")
    if not isinstance(resources, dict) or not all(_is_amount(amount) for amount in resources.values()):
        wrong.append(f"hydra.launcher.resources={resources}: must be names with amounts, as in {{big_disk: 1}}")
    elif ours := sorted({"CPU", "GPU", "memory"} & set(resources)):
        wrong.append(f"hydra.launcher.resources={resources}: {', '.join(ours)}: give num_cpus, num_gpus or memory_gb")
    if runtime_env is not None and not isinstance(runtime_env, dict):
        wrong.append(f"hydra.launcher.runtime_env={runtime_env}: must be a mapping as Ray takes it, or null")
    return wrong


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")


def _count(needs: Mapping[str, float], node: Mapping[str, float]) -> int:
    # A job that takes nothing counts as one of a processor: else there would be room for any number.
    return int(min(node.get(name, 0) / amount for name, amount in (needs or {"CPU": 1.0}).items()))


def _in_words(amounts: Mapping[str, float]) -> str:
    words = [
        f"{round(amount / _GIB, 1):,.10g} GB of memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in amounts.items()
    ]
    return ", ".join(words)
