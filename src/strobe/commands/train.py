"""Train one model: `python -m src.train [overrides]`; with `-m`, many."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.commands.arguments import flag_first, with_absolute_path, with_resume, without_resume
from strobe.commands.surroundings import settle
from strobe.commands.traces import take_back
from strobe.config.compose import CONF
from strobe.config.overrides import explain
from strobe.config.values import objective, problems
from strobe.distributed import slurm
from strobe.errors import ConfigError, exit_code, require
from strobe.machine.secrets import learn_typed


class Ended(BaseException):
    """Carries what ended a single run past Hydra, which would print a line of its own about an Exception."""


def main() -> int:
    """The command; returns its exit code.

    Returns:
        0 completed, 1 failed, 2 the command or config is wrong, 130 interrupted, 143 preempted.
    """
    settle()
    learn_typed(sys.argv[1:])
    code = _trained()
    if code == ConfigError.exit_code:
        take_back()
    return code


def _trained() -> int:
    # Hydra would print its errors and exit with 1 by itself; this makes it raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        require(f"{typed!a}: is no text in UTF-8: type it otherwise" for typed in sys.argv[1:] if not _is_text(typed))
        arguments = with_resume(with_absolute_path(flag_first(sys.argv[1:])))
        if "TORCHELASTIC_RUN_ID" in os.environ or slurm.tasks() > 1:
            from strobe.distributed.rendezvous import shared_arguments  # torch: only to ask torchrun's store

            arguments += shared_arguments(arguments)
        sys.argv[1:] = arguments
        hydra_main()
    except Ended as ended:
        assert ended.__cause__ is not None, "raised from what ended the run"
        return exit_code(ended.__cause__)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return exit_code(ConfigError("\n".join(explain(sys.argv[1:], error, CONF))))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if str(error).startswith("Only one of --run, --multirun"):  # Hydra's own, raised as a ValueError
            return exit_code(ConfigError(str(error)))
        return exit_code(error)
    return 0


def _is_text(typed: str) -> bool:
    """Whether what was typed could be read in this locale; bytes that could not are escapes."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def hydra_main(cfg: DictConfig) -> float | None:
    """The task that Hydra calls, once or for every job of a sweep; returns the objective."""
    hydra_config = HydraConfig.get()
    try:
        require(problems(cfg))
        # torch and lightning take seconds: they are imported once the config is known to be right
        from strobe.run.story import train

        directory = Path(hydra_config.runtime.output_dir)
        typed: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)  # as it was typed
        return train(cfg, directory, without_resume(typed), callbacks=_of_a_search(cfg))
    except BaseException as error:
        if hydra_config.mode == RunMode.RUN:
            raise Ended from error
        raise


def _of_a_search(cfg: DictConfig) -> list[partial[Any]]:
    """What makes the callback of a trial, if this process is the job of a search that prunes."""
    study, trial = os.environ.get("STROBE_STUDY"), os.environ.get("STROBE_TRIAL")
    if study is None or trial is None:
        return []
    from strobe.callbacks.pruning import Pruning  # optuna: only in a search

    return [partial(Pruning, Path(study), int(trial), objective(cfg)[0])]
