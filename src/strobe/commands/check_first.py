"""What Hydra calls before it makes a run directory: the last moment to refuse a command without leaving a trace.

Of the commands, not of the configs: it ends the process, and for ``validate=only`` it imports torch.
"""

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from strobe.commands.resumed import RESUME_IN_A_FILE
from strobe.config.overrides import idle_additions
from strobe.config.rules import RULES
from strobe.config.values import problems
from strobe.errors import ConfigError, require
from strobe.record.layout import REPORT
from strobe.record.run_record import already_holds_a_run


class CheckFirst(Callback):
    """Ends a wrong command before Hydra makes a directory for it, and never lets a run write over another."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at what says where a sweep lies, whoever launches its jobs; their configs are looked at one by one.

        Raises:
            SystemExit: With code 2, if it is no place.
        """
        try:
            name = OmegaConf.select(config, "sweep.name")
            rule = RULES["sweep.name"]
            require([] if rule.holds(name) else [rule.refusal("sweep.name", name)])
        except ConfigError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the config of a single run.

        Raises:
            SystemExit: With code 2, if anything is wrong, with 0 after ``validate=only``; Hydra swallows other
                exceptions of a callback.
        """
        keys: list[Any] = [key for key in config if key != "hydra"]
        cfg = OmegaConf.masked_copy(config, keys)
        directory = Path(config.hydra.run.dir)
        typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # they may hold interpolations
        if cfg.resume is not None and any(override.startswith("resume=") for override in typed):
            return  # the config of that run has been looked at before Hydra was asked
        try:
            require(problems(cfg))
            require(idle_additions(config.hydra))
            require([RESUME_IN_A_FILE] if cfg.resume is not None else [])
            new = config.hydra.output_subdir is not None
            require([already_holds_a_run(directory)] if new and (directory / REPORT).exists() else [])
            if cfg.validate == "only":
                from strobe.config.plan import plan  # torch: only where targets and signatures are asked for

                print(plan([cfg]))
                raise SystemExit(0)
        except ConfigError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None
