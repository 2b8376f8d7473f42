"""`strobe.train`: one model, as the command `strobe train` trains it."""

import copy
import inspect
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from strobe.api.composing import Composed, composition, origin_of
from strobe.api.given_back import given_back
from strobe.api.notebook import callbacks_of_a_notebook
from strobe.api.run import Run
from strobe.commands.surroundings import is_one_of_several
from strobe.commands.traces import make_directory, take_back
from strobe.config.overrides import idle_additions
from strobe.config.tasks import idle_overrides, undirected
from strobe.config.values import problems
from strobe.config.written import learn_secrets, without_secrets
from strobe.errors import ConfigError, InterruptedRunError, RunError, require
from strobe.machine.logs import Formatter
from strobe.machine.transient import doing
from strobe.record.layout import REPORT
from strobe.record.run_record import already_holds_a_run


def train(config: DictConfig | Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Train, test and record one run, as `strobe train` does, with the same numbers and the same directory.

    In a notebook it shows a progress bar, and curves that grow with each epoch. To interrupt it saves the run:
    `strobe.train(["resume=latest"])` goes on with it. Seeds, threads, signal handlers, loggers, warnings and the
    environment of the process are afterwards as they were.

    Several processes (`trainer=ddp_cpu`, `trainer=ddp`) start as fresh ones that import the script they were started
    from: there, call it below `if __name__ == "__main__":`.

    Args:
        config: From `compose`, or overrides as `compose` takes them.
        config_dir: For overrides: see `compose`.

    Returns:
        The run; its directory is `outputs/train/<date>/<time>`, or what `hydra.run.dir=` says.

    Raises:
        ConfigError: If the config is wrong: nothing was trained.
        RunError: If the run did not complete: `DivergedError`, `OutOfMemoryError` and others of `strobe.errors`.
        KeyboardInterrupt: If it was interrupted; the run is saved.

    Example:
        >>> run = strobe.train(["model=mlp", "model.hidden=[32]", "trainer.max_epochs=1"])  # doctest: +ELLIPSIS
        MLP on ...
        >>> run.status
        'completed'
        >>> sorted(run.report["metrics"])
        ['test/acc', 'test/loss', 'train/acc', 'train/loss', 'val/acc', 'val/loss']
    """
    require(_wrong_places())
    if isinstance(config, DictConfig):
        require(_wrong_in_a_config(config, config_dir))
        composed = origin_of(config)
        require(idle_additions(_hydras_node(composed)) if composed.made_here else [])
    elif isinstance(config, Sequence) and not isinstance(config, bytes):
        composed = composition(config, config_dir)
    else:
        raise TypeError(
            f"strobe.train takes a config from strobe.compose, or overrides, and no {type(config).__name__}"
        )
    learn_secrets(composed.cfg)
    if not composed.resumes and composed.cfg.get("resume") is not None:
        raise ConfigError(
            f"resume={composed.cfg.resume}: is read by strobe.train(['resume=<run dir>']) alone, not from a config; "
            "set cfg.resume = None to train anew"
        )
    require(problems(composed.cfg))
    require([*idle_overrides(composed.cfg, composed.overrides), *undirected(composed.cfg, composed.overrides)])
    if composed.cfg.get("validate") == "only":
        raise ConfigError("validate=only: nothing would be trained; strobe.compose checks a config")
    with given_back(composed.typed):
        return Run(_trained(composed))


def _wrong_places() -> Iterator[str]:
    """Why nothing can be trained in this process, if nothing can be."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "__mp_main__" and frame.f_code.co_name == "<module>":
            yield (
                "strobe.train: called again by a process that it has started, which imports this script: "
                'call it below if __name__ == "__main__":'
            )
        frame = frame.f_back
    if is_one_of_several():
        yield "strobe.train: torchrun or srun has started several processes: let them run the command, strobe train"


def _wrong_in_a_config(cfg: DictConfig, config_dir: str | Path | None) -> Iterator[str]:
    if config_dir is not None:
        yield f"config_dir={config_dir}: the config is there already; give it to strobe.compose"
    if "hydra" in cfg:
        yield "hydra: is no part of the config; give it to strobe.compose, as in hydra.run.dir=<dir>"


def _hydras_node(composed: Composed) -> DictConfig:
    """Hydra's own node, with all that was set as what was typed."""
    node: DictConfig = copy.deepcopy(composed.hydra.hydra)
    with read_write(node), open_dict(node):
        node.overrides.task = list(composed.overrides)
    return node


def _trained(composed: Composed) -> Path:
    """Train; returns the run directory."""
    whole = _with_hydra(composed)
    directory, log = Path(str(whole.hydra.runtime.output_dir)), f"{whole.hydra.job.name}.log"
    if not composed.resumes:
        require([already_holds_a_run(directory)] if (directory / REPORT).exists() else [])
        make_directory(directory, log, new=True)
    HydraConfig.instance().set_config(whole)
    try:
        with _logged(directory / log):
            if whole.hydra.output_subdir is not None:
                _write_hydras_record(whole, directory / str(whole.hydra.output_subdir))
            with doing("importing torch and Lightning"):
                from strobe.run.story import train as story

            story(composed.cfg, directory, list(composed.overrides), callbacks=callbacks_of_a_notebook())
    except InterruptedRunError as error:
        raise KeyboardInterrupt(str(error)) from error
    except SystemExit as error:
        raise RunError(f"the run was ended by SystemExit({error.code!r})") from error
    except ConfigError:
        if not composed.resumes:
            take_back()
        raise
    return directory


def _with_hydra(composed: Composed) -> DictConfig:
    """The config with Hydra's node, as Hydra has it when a job runs; the time in a directory's name is now."""
    whole = copy.deepcopy(composed.cfg)
    with read_write(whole), open_dict(whole):
        whole.hydra = _hydras_node(composed)
        OmegaConf.clear_cache(whole)
        with read_write(whole.hydra), open_dict(whole.hydra):
            whole.hydra.mode = RunMode.RUN
            whole.hydra.runtime.output_dir = str(Path(str(whole.hydra.run.dir)).absolute())
    return whole


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Have messages printed, and everything in the run's log file; see `conf/hydra/job_logging/strobe.yaml`."""
    console, file = logging.StreamHandler(sys.stdout), logging.FileHandler(path, encoding="utf-8")
    console.setLevel(logging.INFO)
    console.setFormatter(Formatter("%(message)s"))
    file.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    # Else a line would be printed twice, where a program prints its own messages.
    root.handlers[:] = [*(each for each in root.handlers if type(each) is not logging.StreamHandler), console, file]
    root.setLevel(logging.INFO)
    logging.getLogger("strobe").setLevel(logging.DEBUG)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        yield
    finally:
        file.close()


def _write_hydras_record(whole: DictConfig, folder: Path) -> None:
    harmless = without_secrets(whole) or whole
    folder.mkdir(parents=True, exist_ok=True)
    keys: Any = [key for key in harmless if key != "hydra"]
    for name, node in (
        ("config.yaml", OmegaConf.masked_copy(harmless, keys)),
        ("hydra.yaml", OmegaConf.masked_copy(harmless, "hydra")),
        ("overrides.yaml", harmless.hydra.overrides.task),
    ):
        (folder / name).write_text(OmegaConf.to_yaml(node), encoding="utf-8")
