"""What a run says at its beginning and at its end."""

import logging
import shlex
from pathlib import Path
from typing import Any

from strobe.machine.program import typed
from strobe.machine.secrets import is_masked
from strobe.machine.table import aligned
from strobe.record.run_record import RunRecord
from strobe.record.settings import leaves
from strobe.run.build import Run
from strobe.run.parts import facts_of

log = logging.getLogger(__name__)

_WORDS = {"acc": "accuracy"}


def announce(run: Run, record: RunRecord) -> None:
    """Say what is about to be trained, and where the machine makes something else of the request."""
    effective, requested = record.report["effective"], record.report["requested"]
    if not run.trainer.is_global_zero:
        return
    if secrets := [name for name, value in leaves(record.config, into_lists=True) if is_masked(value)]:
        log.info(
            "Not written down, because it looks like a secret: %s. To resume this run, give it again; "
            "as '${oc.env:<variable>}' it would be read from the environment each time",
            ", ".join(secrets),
        )
    devices = (
        f"{effective['world_size']} x {effective['accelerator']}"
        if effective["world_size"] > 1
        else effective["accelerator"]
    )
    net = getattr(run.model, "net", run.model)
    log.info(
        "%s on %s: %s parameters, %s, precision %s",
        type(net).__name__,
        facts_of(run.data).get("title") or type(run.data).__name__,
        f"{record.report['parameters']:,}",
        devices,
        effective["precision"],
    )
    if not _granted(requested["precision"], effective["precision"]):
        asked, precision = requested["precision"], effective["precision"]
        log.info("precision %s is not available on %s: training in %s", asked, devices, precision)


def closing_table(record: RunRecord) -> str:
    """What a person wants to know at the end, and the commands that come next."""
    report = record.report
    metrics, effective, timing = report["metrics"], report["effective"], report["timing"]
    asked, precision = report["requested"]["precision"], effective["precision"]
    if not _granted(asked, precision):
        precision = f"{precision} (asked for {asked})"
    rows: list[tuple[str, Any]] = []
    # The test's most telling number first: what the monitored one is called there.
    monitored = None if report["best"] is None else str(report["best"]["metric"]).rpartition("/")[2]
    tested = [name for name in metrics if name.startswith(("test/", "test_"))]
    for name in sorted(tested, key=lambda name: name[5:] != monitored):
        rows += [(f"test {_WORDS.get(name[5:], name[5:])}", f"{metrics[name]:.4f}")]
    if (best := report["best"]) is not None and best["value"] is not None:
        rows += [(f"best {best['metric']}", f"{best['value']:.4f} (epoch {best['epoch'] + 1})")]
    if (stopped := report["stopped_early"]) is not None:
        reason = f": {stopped['reason']}" if stopped["reason"] else ""
        rows += [("stopped early", f"in epoch {stopped['epoch'] + 1} by {stopped['by']}{reason}")]
    directory = told(record.directory)
    rows += [
        ("time", f"{timing['total_s']:.1f} s, of which training {timing['train_s']:.1f} s"),
        ("device", f"{effective['world_size']} x {effective['accelerator']}, precision {precision}"),
        ("run directory", directory),
    ]
    further = [["tensorboard", "--logdir"]] if (record.directory / "tensorboard").exists() else []
    further += [typed("evaluate")] if tested else []
    further += [typed("report")]
    return "\n".join(
        ["", aligned(rows, indent=2), "", "Next:", *(f"  {shlex.join([*words, directory])}" for words in further), ""]
    )


def _granted(asked: object, precision: str) -> bool:
    from_environment = str(asked).startswith("${")  # it is not written down what it was
    return from_environment or str(asked) in ("None", precision, precision.removesuffix("-true"))


def told(path: Path) -> str:
    """A path as a person is told it: relative to where the person is, if that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
