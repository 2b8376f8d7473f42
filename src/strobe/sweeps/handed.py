"""The config of a job as its driver hands it over: Hydra's own, with Hydra's node, composed once for many jobs.

Asking Hydra costs a job more than its first epoch may; to have a composed config unpickled and a few values laid over
it costs a tenth.
"""

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass(frozen=True)
class Value:
    """A plain ``key=value``, or ``++key=value``.

    Attributes:
        key: With dots.
        value: As Hydra reads it.
        added: Whether the key need not be there.
    """

    key: str
    value: Any
    added: bool

    def lay_over(self, cfg: DictConfig) -> None:
        """Set it, as Hydra would."""
        OmegaConf.update(cfg, self.key, self.value, merge=True, force_add=self.added)


@dataclass(frozen=True)
class Handed:
    """What a job makes its config of.

    Attributes:
        base: The pickled config of its group choices.
        values: What is laid over it, in order.
        task: The overrides of the job's command, as they were typed.
        hydra: Those that are Hydra's own.
        dirname: Hydra's short text for the former.
    """

    base: bytes
    values: Sequence[Value]
    task: Sequence[str]
    hydra: Sequence[str]
    dirname: str

    def config(self) -> DictConfig:
        """The config that Hydra would compose of the job's command line, in the process of the job."""
        cfg: DictConfig = pickle.loads(self.base)
        OmegaConf.clear_cache(cfg)  # what resolvers gave to the driver
        for value in self.values:
            value.lay_over(cfg)
        cfg.hydra.overrides.task, cfg.hydra.overrides.hydra = list(self.task), list(self.hydra)
        with open_dict(cfg.hydra):
            for name in cfg.hydra.job.env_copy:
                cfg.hydra.job.env_set[name] = os.environ[name]
        cfg.hydra.job.override_dirname = self.dirname
        return cfg
