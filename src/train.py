"""Train one model: `python -m src.train [overrides]`; with `-m`, many."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from src import slurm
from src.cli import CONF, Ended, end_with_exit_code, without_resume
from src.errors import ConfigError, RunError, as_run_error
from src.launch import Ranks, started_ranks
from src.ranks import process_rank
from src.record import RunRecord, plain, process_age_s, status_of
from src.validate import problems

if TYPE_CHECKING:  # torch and lightning take seconds: they are imported once the config is known to be right
    from src.build import Run
    from src.callbacks.stop import StopRequest

log = logging.getLogger("src.train")  # also when this module is __main__


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> float | None:
    """The task that Hydra calls, once or for every job of a sweep; returns the objective."""
    hydra_config = HydraConfig.get()
    try:
        return train(cfg, Path(hydra_config.runtime.output_dir), without_resume(hydra_config.overrides.task))
    except BaseException as error:
        if hydra_config.mode == RunMode.RUN:
            raise Ended from error
        raise


def train(cfg: DictConfig, directory: Path, overrides: Sequence[str] = ()) -> float | None:
    """Fit, test and record one run.

    Args:
        cfg: The composed config.
        directory: The run directory.
        overrides: What was typed, for the record.

    Returns:
        The objective: the metric that ``objective`` names, or the best monitored value.

    Raises:
        RunError: If the run did not complete; its ``status`` is what the report says.
    """
    if wrong := problems(cfg):
        raise ConfigError("\n".join(wrong))
    values = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(values, DictConfig)
    cfg = values  # from here on, values alone
    from src.build import build
    from src.prepare import resume_point, settle_process
    from src.targets import problems_with_libraries

    if wrong := problems_with_libraries(cfg):
        raise ConfigError("\n".join(wrong))
    settle_process(cfg)
    with started_ranks(cfg, directory) as ranks:
        start = resume_point(cfg, directory)
        record = RunRecord.start(directory, cfg, overrides, resume=start is not None)
        with recorded(record, cfg, ranks) as stop:
            run = build(cfg, record, stop, purge_step=start.step if start else None)
            if start is None or not start.trained:
                _fit(run, record, start.checkpoint if start else None)
            if cfg.test:
                _test(run, record, cfg)
            _finish(run, record, cfg)
    objective = record.report["objective"]
    return None if objective is None else float(objective)


@contextmanager
def recorded(record: RunRecord, cfg: DictConfig, ranks: Ranks) -> Iterator["StopRequest"]:
    """Write down how the block ended, whatever happens in it; gives it what a signal sets.

    Raises:
        RunError: In place of what the block raised, where the cause is known.
    """
    from src.callbacks.stop import StopRequest

    if process_rank() == 0:
        slurm.remember(record.directory)
    stop = StopRequest()
    stop.install()
    ranks.watch(partial(_give_up, record))
    try:
        yield stop
    except BaseException as raised:
        # Lightning's SIGTERMException is a SystemExit; anything else that follows a signal is a failure of its own.
        stopped = stop.reason is not None and isinstance(raised, SystemExit | KeyboardInterrupt | stop.reason)
        error = stop.error() if stopped else as_run_error(ranks.cause(raised), batch_size=cfg.data.batch_size)
        record.finish(status_of(error), error)
        if stop.requeue:
            slurm.requeue()
        log.debug("The run ended early", exc_info=raised)  # the file gets the traceback, the terminal a line
        raise error from raised
    finally:
        stop.uninstall()


def _give_up(record: RunRecord, error: RunError) -> None:
    if record.report["status"] == "running":
        record.finish(status_of(error), error)
        print(error, file=sys.stderr, flush=True)


def _fit(run: "Run", record: RunRecord, checkpoint: Path | None) -> None:
    from src.prepare import announce

    announce(run, record)
    record.report["timing"]["startup_s"] = round(process_age_s(), 3)
    began = process_age_s()
    run.trainer.fit(run.model, datamodule=run.data, ckpt_path=checkpoint)
    fit_s = process_age_s() - began
    timing = {name: round(seconds, 3) for name, seconds in run.recorder.timing.items()}
    speed = round(run.recorder.images_seen / max(run.recorder.timing["train_s"], 1e-9), 1)
    record.update(timing={"fit_s": round(fit_s, 3), **timing, "samples_per_s": speed})


def _test(run: "Run", record: RunRecord, cfg: DictConfig) -> None:
    """Test the best checkpoint, or the last weights where none was saved."""
    from lightning.pytorch.strategies import FSDPStrategy

    from src.build import build_model
    from src.checkpoints import load_weights

    model = run.model
    best = record.report["best"]
    if best is not None and best["checkpoint"] is not None:
        path = record.directory / best["checkpoint"]
        if run.trainer.is_global_zero or path.exists():  # under DDP, a machine without rank 0's disk is sent them
            if isinstance(run.trainer.strategy, FSDPStrategy):  # this rank's model holds a share of the weights
                model = build_model(cfg, run.data, run.trainer)
            load_weights(model, path)
    began = process_age_s()
    run.trainer.test(model, datamodule=run.data, verbose=False)
    metrics = {name: value for name, value in model.epoch_metrics.items() if name.startswith("test/")}
    record.update(metrics=metrics, timing={"test_s": round(process_age_s() - began, 3)})


def _finish(run: "Run", record: RunRecord, cfg: DictConfig) -> None:
    from src.callbacks.tensorboard import log_hparams
    from src.prepare import closing_table

    best = record.report["best"] or {}
    metrics = record.report["metrics"]
    name = cfg.objective or best.get("metric")
    record.update(objective=metrics.get(name), objective_metric=name)
    log_hparams(run.trainer, plain(cfg), metrics)
    if run.trainer.is_global_zero:
        record.finish("completed")
        slurm.forget(record.directory)
        log.info(closing_table(record))


if __name__ == "__main__":
    sys.exit(end_with_exit_code(main))
