"""What Hydra calls before it makes a run directory: the last moment to refuse a command without leaving a trace.

Of the commands, not of the configs: it ends the process, and for ``validate=only`` it imports torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from strobe.commands.resumed import RESUME_IN_A_FILE
from strobe.commands.surroundings import importing
from strobe.commands.traces import make_directory, require_writable
from strobe.config.hidden import passed_over
from strobe.config.overrides import idle_additions
from strobe.config.rules import RULES
from strobe.config.tasks import idle_overrides, undirected
from strobe.config.values import problems
from strobe.config.written import learn_secrets, without_secrets
from strobe.errors import ConfigError, require
from strobe.machine.terminal import exit_code, tell
from strobe.record.layout import REPORT
from strobe.record.run_record import already_holds_a_run


class CheckFirst(Callback):
    """Ends a wrong command before Hydra makes a directory for it, and never lets a run write over another.

    Hydra writes down what was typed before the run begins; where that holds secrets, it is written here.
    """

    def __init__(self) -> None:
        self._subdirectory: str | None = None  # kept from Hydra

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at the config of a single run, and make its directory.

        Raises:
            SystemExit: With code 2, if anything is wrong, with 0 after ``validate=only``; Hydra swallows other
                exceptions of a callback.
        """
        cfg = _of_the_job(config)
        directory = Path(config.hydra.run.dir)
        learn_secrets(cfg)
        typed: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)  # they may hold interpolations
        if cfg.resume is not None and any(override.startswith("resume=") for override in typed):
            return  # the config of that run has been looked at before Hydra was asked
        with _refusals_end():
            unused = passed_over(config.hydra)
            require(unused.chosen)
            require(problems(cfg))
            require([*idle_additions(config.hydra), *idle_overrides(cfg, typed), *undirected(cfg, typed)])
            require([RESUME_IN_A_FILE] if cfg.resume is not None else [])
            new = config.hydra.output_subdir is not None
            require([already_holds_a_run(directory)] if new and _holds_a_run(directory) else [])
            for line in unused.by_default:
                tell(line)
            if cfg.validate == "only":
                with importing():  # only where targets and signatures are asked for
                    from strobe.config.plan import plan
                    from strobe.run.rehearsal import Rehearsal

                print(plan([cfg], Rehearsal()))
                raise SystemExit(0)
            make_directory(directory, f"{config.hydra.job.name}.log", new=new)
        if config.hydra.output_subdir is not None and without_secrets(config) is not None:
            self._subdirectory = str(config.hydra.output_subdir)
            with read_write(config), open_dict(config):
                config.hydra.output_subdir = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Look at where a sweep is to lie, whoever launches its jobs; their configs are looked at one by one.

        Raises:
            SystemExit: With code 2, if it is no place, or nothing can be written there.
        """
        learn_secrets(_of_the_job(config))
        name, rule = OmegaConf.select(config, "sweep.name"), RULES["sweep.name"]
        with _refusals_end():
            unused = passed_over(config.hydra)
            require(unused.chosen)
            require([] if rule.holds(name) else [rule.refusal("sweep.name", name)])
            if config.get("validate") != "only":
                require_writable(Path(config.hydra.sweep.dir))
        for line in unused.by_default:
            tell(line)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Write Hydra's record of a command that holds secrets; another launcher's jobs find one that Hydra wrote."""
        subdirectory = self._subdirectory or config.hydra.output_subdir
        if subdirectory is None or (harmless := without_secrets(config)) is None:
            return
        with read_write(harmless), open_dict(harmless):
            harmless.hydra.output_subdir = subdirectory
        folder = Path(config.hydra.runtime.output_dir) / subdirectory
        folder.mkdir(parents=True, exist_ok=True)
        hydra: Any = OmegaConf.masked_copy(harmless, "hydra")
        for name, node in (
            ("config.yaml", _of_the_job(harmless)),
            ("hydra.yaml", hydra),
            ("overrides.yaml", harmless.hydra.overrides.task),
        ):
            (folder / name).write_text(OmegaConf.to_yaml(node), encoding="utf-8")


def _holds_a_run(directory: Path) -> bool:
    try:
        return (directory / REPORT).exists()
    except OSError:  # no directory can have such a name
        return False


def _of_the_job(config: DictConfig) -> DictConfig:
    """The config without Hydra's own node."""
    keys: list[Any] = [key for key in config if key != "hydra"]
    return OmegaConf.masked_copy(config, keys)


@contextmanager
def _refusals_end() -> Iterator[None]:
    """Say what a command is refused for, and end it.

    Raises:
        SystemExit: In place of the refusal.
    """
    try:
        yield
    except ConfigError as error:
        raise SystemExit(exit_code(error)) from None
