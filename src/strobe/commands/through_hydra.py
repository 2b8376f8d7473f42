"""What `python -m src.train` does once it is known to train: the command as Hydra takes it, and what Hydra calls."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from strobe.commands.arguments import (
    flag_first,
    flag_values,
    refuse_unpickling,
    unglued,
    with_absolute_path,
    without_trust,
)
from strobe.commands.composed_once import composed_once
from strobe.commands.resumed import RESUME_IN_A_FILE, Resumed, resumed_run
from strobe.commands.shorthand import spelt_out
from strobe.commands.surroundings import importing, is_one_of_several
from strobe.commands.versions import versions
from strobe.config.compose import CONF
from strobe.config.nothing import said_plainly
from strobe.config.overrides import explain, is_no_name, misspelt
from strobe.config.slips import in_full
from strobe.config.unheard import unheard_of
from strobe.config.values import objective, problems
from strobe.errors import ConfigError, require
from strobe.machine.secrets import learn_url
from strobe.machine.streams import answer
from strobe.machine.terminal import exit_code
from strobe.record.layout import STORAGE_VARIABLE

_OF_FLAGS = ("Only one of --run, --multirun", "The --resolve flag")  # Hydra's own, raised as a ValueError
_OF_SWEEPS = ("hydra/launcher", "hydra.launcher")


class Ended(BaseException):
    """Carries what ended a single run past Hydra, which would print a line of its own about an Exception."""


def trained(handed: DictConfig | None) -> int:
    """Run the command of this process; returns its exit code.

    Args:
        handed: The config that Hydra would compose of what is typed, where that has been done.
    """
    # Hydra would print its errors and exit with 1 by itself; this makes it raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        typed = list(sys.argv[1:])
        if {"-V", "--version"} & set(typed):
            return answer(versions())
        require(f"{text!a}: is no text in UTF-8: type it otherwise" for text in typed if not _is_text(text))
        typed = spelt_out(unglued(typed))
        arguments, trusted = without_trust(typed)
        arguments = with_absolute_path(arguments)
        refuse_unpickling(arguments)
        if "--hydra-help" not in arguments:
            require(misspelt(arguments, CONF))  # in the order in which a person has typed it
            require(unheard_of(arguments, CONF) if handed is None else [])
        arguments = said_plainly(flag_first(arguments), CONF)
        resumed = resumed_run(arguments, trusted)
        if resumed is not None:
            if _answered(resumed, arguments):
                return 0
            with importing():
                from strobe.config.checks import problems_with_libraries  # nothing that the run names is called
                from strobe.config.saved import damage_named  # imported by now

            with damage_named(Path(resumed.cfg.resume)):
                require(problems_with_libraries(resumed.cfg))
            arguments = resumed.arguments
        if is_one_of_several():
            from strobe.distributed.rendezvous import shared_arguments  # torch: only to ask torchrun's store

            arguments += shared_arguments(arguments)
        sys.argv[1:] = arguments
        task = hydra_task if resumed is None else _task_of(resumed, typed)
        with composed_once(multirun=bool({"-m", "--multirun"} & {*map(in_full, arguments)}), handed=handed):
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(task)()
    except Ended as ended:
        assert ended.__cause__ is not None, "raised from what ended the run"
        return exit_code(ended.__cause__)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        return exit_code(ConfigError("\n".join(explain(sys.argv[1:], error, CONF))))
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if str(error).startswith(_OF_FLAGS):
            return exit_code(ConfigError(str(error)))
        if is_no_name(error) or isinstance(error.__cause__, MissingConfigException):  # likewise; of a sweep's job
            return exit_code(ConfigError("\n".join(explain(sys.argv[1:], HydraException(str(error)), CONF))))
        return exit_code(error)
    return 0


def _is_text(typed: str) -> bool:
    """Whether what was typed could be read in this locale; bytes that could not are escapes."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True


def hydra_task(cfg: DictConfig) -> float | None:
    """What Hydra calls, once or for every job of a sweep; returns the objective."""
    require([RESUME_IN_A_FILE] if cfg.resume is not None else [])
    typed: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # they may hold interpolations
    return _story(cfg, typed)


def _task_of(resumed: Resumed, typed: Sequence[str]) -> Callable[[DictConfig], float | None]:
    """The same for a run that goes on with its own config, whatever Hydra has composed."""

    def task(composed: DictConfig) -> float | None:
        sys.argv[1:] = typed  # for the record
        return _story(resumed.cfg, resumed.overrides)

    return task


def _story(cfg: DictConfig, overrides: Sequence[str]) -> float | None:
    hydra_config = HydraConfig.get()
    try:
        if hydra_config.mode == RunMode.RUN:
            require(idle_choices(hydra_config))
        require(problems(cfg))
        # torch and lightning take seconds: they are imported once the config is known to be right
        with importing():
            from strobe.run.story import train

        return train(cfg, Path(hydra_config.runtime.output_dir), overrides, callbacks=_of_a_search(cfg))
    except BaseException as error:
        if hydra_config.mode == RunMode.RUN:
            raise Ended from error
        raise


def idle_choices(hydra_config: Any) -> list[str]:
    """What was chosen for a sweep's jobs, of a run that is none, a line each."""
    idle = [text for text in hydra_config.overrides.hydra if text.lstrip("+").startswith(_OF_SWEEPS)]
    return [f"{text}: says where the jobs of a sweep run, and this is a single run: add -m" for text in idle]


def _answered(resumed: Resumed, arguments: Sequence[str]) -> bool:
    """Whether all that is asked for is a look at the config, or a plan."""
    if "job" in flag_values(arguments, "--cfg"):
        package = next(iter(flag_values(arguments, "--package")), "_global_")
        part = resumed.cfg if package == "_global_" else OmegaConf.select(resumed.cfg, package)
        print(OmegaConf.to_yaml(part) if OmegaConf.is_config(part) else part, end="")
        return True
    if resumed.cfg.validate == "only":
        with importing():  # only where targets and signatures are asked for
            from strobe.config.plan import plan
            from strobe.run.rehearsal import Rehearsal

        print(plan([resumed.cfg], Rehearsal()))
        return True
    return False


def _of_a_search(cfg: DictConfig) -> list[partial[Any]]:
    """What makes the callback of a trial, if this process is the job of a search that prunes."""
    study, trial = os.environ.get("STROBE_STUDY"), os.environ.get("STROBE_TRIAL")
    if study is None or trial is None:
        return []
    from strobe.callbacks.pruning import Pruning  # optuna: only in a search

    learn_url(os.environ.get(STORAGE_VARIABLE, ""))
    metric = objective(cfg)[0]
    return [] if metric is None else [partial(Pruning, Path(study), int(trial), metric)]
