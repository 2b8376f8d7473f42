"""From a typed command to an exit code: resuming, and mistakes explained in one line each."""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from src import slurm
from src.errors import ConfigError, RunError
from src.overrides import explain
from src.ranks import process_rank
from src.record import CONFIG, read_report
from src.validate import problems

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


class Ended(BaseException):
    """Carries what ended a single run past Hydra, which would print a line of its own about an Exception."""


def end_with_exit_code(main: Callable[[], object]) -> int:
    """Run a `hydra.main` function and turn however it ends into an exit code.

    Returns:
        0 completed, 1 failed, 2 the command or config is wrong, 130 interrupted, 143 preempted.
    """
    # Hydra would print its errors and exit with 1 by itself; this makes it raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        arguments = with_resume(_flag_first(sys.argv[1:]))
        sys.argv[1:] = [*arguments, *shared_arguments(arguments)]
        main()
    except Ended as ended:
        assert ended.__cause__ is not None, "raised from what ended the run"
        return exit_code(ended.__cause__)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        _say("\n".join(explain(sys.argv[1:], error, CONF)))
        return 2
    except (Exception, KeyboardInterrupt) as error:
        if str(error).startswith("Only one of --run, --multirun"):  # Hydra's own, raised as a ValueError
            return exit_code(ConfigError(str(error)))
        return exit_code(error)
    return 0


def _flag_first(arguments: Sequence[str]) -> list[str]:
    """Hydra takes overrides only in one piece, so a ``-m`` between them has to move."""
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    return [*flags, *(argument for argument in arguments if argument not in flags)]


def composed(overrides: Sequence[str]) -> DictConfig:
    """The resolved config of ``python -m src.train <overrides>``, for commands that are not Hydra's.

    Raises:
        ConfigError: If an override is wrong.
    """
    try:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", overrides=list(overrides))
        if wrong := problems(cfg):
            raise ConfigError("\n".join(wrong))
        resolved = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError("\n".join(explain(overrides, error, CONF))) from error
    assert isinstance(resolved, DictConfig)
    return resolved


def without_resume(overrides: Sequence[str]) -> list[str]:
    """The overrides that a person typed, of those that `with_resume` made of them."""
    return [override for override in overrides if not override.startswith(("resume=", "+hydra="))]


def exit_code(error: BaseException) -> int:
    """The exit code that goes with an error, after saying what it was."""
    if isinstance(error, RunError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return 130
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    traceback.print_exception(error)
    return 1


def with_resume(arguments: Sequence[str]) -> list[str]:
    """Rewrite ``resume=<run dir> ...`` to the command that composes the saved config in its own directory.

    The saved config is the primary one, so that a run goes on as it was although files under ``conf/`` have changed.

    Raises:
        ConfigError: If the directory is not that of a run.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    if not given and (requeued := slurm.requeued_directory(arguments)) is not None:
        given = [f"resume={requeued}"]
        arguments = given  # the saved config has the rest
    value = given[-1].removeprefix("resume=") if given else "null"
    if value == "null":
        return list(arguments)
    if value == "":
        raise ConfigError("resume= is empty: give a run directory, as in resume=outputs/train/<date>/<time>")
    if any(argument in ("-m", "--multirun") for argument in arguments):
        raise ConfigError("resume= continues one run and can't be combined with -m")
    directory = Path(value.strip("'\"")).resolve()
    read_report(directory)
    if not (directory / CONFIG).is_file():
        raise ConfigError(f"{directory} can't be resumed: it has no {CONFIG}")
    quoted = "'" + str(directory).replace("'", r"\'") + "'"
    rest = [argument for argument in arguments if not argument.startswith("resume=")]
    return [
        f"--config-path={directory}",
        f"--config-name={Path(CONFIG).stem}",
        f"--config-dir={CONF}",
        "+hydra=default",
        f"hydra.run.dir={quoted}",
        "hydra.output_subdir=null",  # Hydra's record stays that of the first command
        f"resume={quoted}",
        *rest,
    ]


def shared_arguments(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Under torchrun or SLURM, what makes every rank use one run directory; nothing to add elsewhere.

    They start the same command once per rank, and each would name its directory by its own clock.
    """
    rank = process_rank(environment)
    extra = []
    if not any(argument.startswith("hydra.run.dir=") for argument in arguments):
        directory = _common_directory(rank, environment)
        if directory is None:
            return []
        extra.append(f"hydra.run.dir={directory}")
    elif "TORCHELASTIC_RUN_ID" not in environment and slurm.tasks(environment) < 2:
        return []
    if rank > 0:
        extra += ["hydra.output_subdir=null", f"hydra.job.name=train_rank_{rank}"]
    return extra


def _common_directory(rank: int, environment: Mapping[str, str]) -> str | None:
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, not in __all__

        # torchrun's agent keeps this store open for its ranks; init_process_group uses it under other keys.
        store = TCPStore(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]), is_master=False)
        key = f"strobe/run_dir/{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        if rank == 0:
            store.set(key, datetime.now().strftime("outputs/train/%Y-%m-%d/%H-%M-%S-%f"))
        return str(store.get(key).decode())
    return slurm.step_directory(environment)


def _say(message: str) -> None:
    print(message, file=sys.stderr)
