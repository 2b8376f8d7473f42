"""The story of one run, top to bottom: build, fit, test, and a record of whatever happens."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import DictConfig, OmegaConf

from strobe.callbacks.progress import Progress
from strobe.callbacks.stop import StopRequest
from strobe.callbacks.tensorboard import log_hparams
from strobe.config.abilities import strategy_name
from strobe.config.checks import problems_with_libraries
from strobe.config.compose import plain, resolved
from strobe.config.tasks import idle_groups
from strobe.config.values import problems
from strobe.config.written import learn_secrets, written
from strobe.distributed import slurm
from strobe.distributed.launch import Ranks, started_ranks
from strobe.errors import PreemptedError, RunError, as_run_error, require, status_of
from strobe.machine.disk import disk_error, full_disk
from strobe.machine.process import process_age_s
from strobe.machine.rank import process_rank
from strobe.machine.secrets import known, learn
from strobe.machine.terminal import tell
from strobe.machine.transient import doing
from strobe.models.unread import without_pretrained_weights
from strobe.record import lightning_state
from strobe.record.checkpoints import load_weights
from strobe.record.run_record import RunRecord
from strobe.run.build import Run, build
from strobe.run.evaluation import tested, untestable
from strobe.run.loggers import RemoteRuns
from strobe.run.messages import announce, closing_table, told
from strobe.run.parts import build_data, build_net
from strobe.run.process import settle_process
from strobe.run.resume import resume_point

log = logging.getLogger(__name__)

CallbackFactory = Callable[[], Callback]


def train(
    cfg: DictConfig, directory: Path, overrides: Sequence[str] = (), callbacks: Sequence[CallbackFactory] = ()
) -> float | None:
    """Fit, test and record one run.

    Args:
        cfg: The composed config.
        directory: The run directory.
        overrides: What was typed, for the record.
        callbacks: Make callbacks beside the config's, on every rank; they have to be picklable.

    Returns:
        The objective: the metric that ``objective`` names, or the best monitored value.

    Raises:
        RunError: If the run did not complete; its ``status`` is what the report says.
    """
    learn_secrets(cfg)
    require(problems(cfg))
    as_written = {**written(cfg), **dict.fromkeys(idle_groups(cfg))}
    cfg = resolved(cfg)  # from here on, values alone
    require(problems_with_libraries(cfg))
    config = plain(cfg)
    # A run from before the key was lacks matmul_precision.
    settle_process(seed=cfg.seed, matmul_precision=cfg.get("matmul_precision", "highest"))
    with (
        started_ranks(
            strategy=strategy_name(cfg.trainer.strategy),
            accelerator="auto" if OmegaConf.is_config(cfg.trainer.accelerator) else str(cfg.trainer.accelerator),
            devices=config["trainer"]["devices"],
            directory=directory,
            child=partial(_train_as_rank, config, directory, callbacks, known()),
        ) as ranks,
        (stop := StopRequest(told(directory))).installed(),
    ):
        # A run begins in one of five ways, and here is where they part:
        #   new                  the directory holds no run: the record starts at once;
        #   resumed              `resume=`: from the newest checkpoint, within an epoch or between two; nothing of the
        #                        old run is touched before its training goes on: see `EpochRecorder.begin`;
        #   begun anew           the same, where there was nothing to save yet;
        #   resumed at its test  the same, where all was trained: the fit is left out;
        #   queued again         SLURM has typed the same command anew: it was turned into `resume=` before it got here.
        begin = RunRecord.start if cfg.resume is None else RunRecord.resume
        record = begin(directory, as_written, OmegaConf.to_yaml(OmegaConf.create(as_written)), overrides, config)
        with (
            RemoteRuns.of(record) as remote,  # outside: they are told the status that has been recorded
            recorded(record, ranks, stop, batch_size=cfg.data.get("batch_size"), before_giving_up=remote.finish),
        ):
            with doing("preparing the data"):
                data = build_data(cfg)
            with without_pretrained_weights() if record.resumed else nullcontext():
                net = build_net(cfg, data)
            start = None
            if record.resumed:
                start = resume_point(directory, cfg, net)
                if start is None:
                    record.begin_anew()
                    settle_process(seed=cfg.seed, matmul_precision=cfg.get("matmul_precision", "highest"))
                    net = build_net(cfg, data)  # with its pretrained weights, and the random ones of a beginning
            run = build(
                cfg,
                data,
                net,
                record,
                stop,
                purge_step=start.step if start else None,
                further_callbacks=[make() for make in callbacks],
                begins=start is None,
            )
            if start is not None:
                run.recorder.take_up(start.checkpoint, start.step, start.recorder)
            remote.begin(run.trainer.loggers)
            if start is None or not start.trained:
                _fit(run, record, start.checkpoint if start else None)
                stop.raise_if_asked()  # in the last epoch: all is saved, and the test is left to `resume=`
            else:
                run.recorder.begin()
                lightning_state.stand_at(run.trainer, start.loops)
                _write_timing(run, record)
            if cfg.test and (why := untestable(run.model, run.data)) is None:
                _test(run, record)
            elif cfg.test:
                log.info("No test: %s", why)
            _finish(run, record, stop)
    return record.report["objective"]


def _train_as_rank(
    config: Mapping[str, Any], directory: Path, callbacks: Sequence[CallbackFactory], secrets: Mapping[str, str]
) -> None:
    for secret, shown in secrets.items():
        learn(secret, shown)
    cfg = OmegaConf.create(dict(config))
    train(cfg, directory, callbacks=callbacks)


@contextmanager
def recorded(
    record: RunRecord,
    ranks: Ranks,
    stop: StopRequest,
    *,
    batch_size: int | None,
    before_giving_up: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Write down how the block ended, whatever happens in it.

    Args:
        record: Of the run.
        ranks: That were started with it.
        stop: What a signal sets; installed, and given back at the end.
        batch_size: For advice.
        before_giving_up: Is called where the process has to end from without.

    Raises:
        RunError: In place of what the block raised, where the cause is known.
    """
    if process_rank() == 0:
        slurm.remember(record.directory)
    ranks.watch(partial(_give_up, record, before_giving_up))
    try:
        stop.holding = False
        stop.raise_if_asked()  # since the record has begun
        yield
    except BaseException as raised:
        stop.holding = True  # or another signal would keep this one's word from being written
        # Lightning turns a KeyboardInterrupt into a SystemExit; anything else that follows a signal is a failure.
        stopped = stop.reason is not None and isinstance(raised, SystemExit | KeyboardInterrupt | stop.reason)
        cause = ranks.cause(raised)
        if stopped:
            error: BaseException = stop.error()
        elif (full := full_disk(cause)) is not None:
            error = disk_error(full, record.directory)
        else:
            error = as_run_error(cause, batch_size=batch_size)
        with suppress(OSError):  # a full disk: the report says `running`, and whoever reads it sees that it is not
            record.finish(status_of(error), error)
        if stop.requeue:
            slurm.requeue()
        log.debug("The run ended early", exc_info=raised)  # the file gets the traceback, the terminal a line
        raise error from raised
    finally:
        record.close()
        stop.uninstall()  # only now: a signal that raises would have left the record open


def _give_up(record: RunRecord, before: Callable[[], None], error: RunError) -> None:
    if record.report["status"] == "running":
        with suppress(OSError, PreemptedError):  # the process has to end all the same
            record.finish(status_of(error), error)
        tell(str(error))
        before()


def _fit(run: Run, record: RunRecord, checkpoint: Path | None) -> None:
    announce(run, record)
    record.report["timing"]["startup_s"] = round(process_age_s(), 3)
    earlier_s = sum(run.recorder.timing.values())  # of a run that is resumed
    began = time.perf_counter()
    # Until the bar begins; where there is none, nothing tells when that would be.
    has_bar = isinstance(run.trainer.progress_bar_callback, Progress)
    with doing("preparing the data and the training") if has_bar else nullcontext():
        run.trainer.fit(run.model, datamodule=run.data, ckpt_path=checkpoint)
    fit_s = time.perf_counter() - began
    # What is in effect again: callbacks may have changed it.
    record.update(timing={"fit_s": round(earlier_s + fit_s, 3)}, effective=run.in_effect())
    _write_timing(run, record)


def _write_timing(run: Run, record: RunRecord) -> None:
    timing = {name: round(seconds, 3) for name, seconds in run.recorder.timing.items()}
    if run.recorder.examples_seen:  # only a task of ours counts them
        timing["samples_per_s"] = round(run.recorder.examples_seen / max(run.recorder.timing["train_s"], 1e-9), 1)
    record.update(timing=timing)


def _test(run: Run, record: RunRecord) -> None:
    """Test the best checkpoint, or the last weights where none was saved."""
    model = run.model
    best = record.report["best"]
    if best is not None and best["checkpoint"] is not None:
        path = record.directory / best["checkpoint"]
        if run.trainer.is_global_zero or path.exists():  # under DDP, a machine without rank 0's disk is sent them
            if isinstance(run.trainer.strategy, FSDPStrategy):  # this rank's model holds a share of the weights
                model = run.fresh_model()
            load_weights(model, path)
    began = time.perf_counter()
    with doing("testing"):
        metrics = tested(run.trainer, model, run.data)
    record.update(metrics=metrics, timing={"test_s": round(time.perf_counter() - began, 3)})


def _finish(run: Run, record: RunRecord, stop: StopRequest) -> None:
    metrics = record.report["metrics"]
    name, mode = run.objective
    record.update(objective=None if name is None else metrics.get(name), objective_metric=name, objective_mode=mode)
    if name is not None and name not in metrics:
        log.warning("objective=%s: nothing of that name was logged; there is: %s", name, ", ".join(metrics))
    log_hparams(run.trainer, record.config, metrics)
    stop.holding = True  # it has come to its end: nothing is left to stop
    if run.trainer.is_global_zero:
        record.finish("completed")
        slurm.forget(record.directory)
        log.info(closing_table(record))
