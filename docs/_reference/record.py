"""The reference's pages of what a run leaves: statuses, exit codes, files, metrics, and the variables that are read."""

from collections.abc import Iterator

from _reference.configuration import code, table
from _reference.words import FILES, METRICS, REPORT, STATUSES, VARIABLES
from strobe.config.tasks import _SHIPPED
from strobe.errors import RunError
from strobe.record.layout import FAILED, STOPPED, SUCCEEDED


def record() -> dict[str, str]:
    """The pages by their addresses."""
    pages = {"statuses": _statuses(), "run-directory": _directory(), "metrics": _metrics(), "environment": _variables()}
    return {f"reference/{name}.md": "\n".join(lines) for name, lines in pages.items()}


def errors() -> Iterator[type[RunError]]:
    """Every way in which a run can end other than well."""
    waiting = [RunError]
    while waiting:
        kind = waiting.pop(0)
        yield kind
        waiting += kind.__subclasses__()


def _statuses() -> Iterator[str]:
    yield "# Statuses and exit codes\n"
    yield "How a run stands is `status` in its `report.json`; the command exits with a number that means the same.\n"
    codes = {kind.status: kind.exit_code for kind in errors() if kind.exit_code != 2} | {"completed": 0}
    of_sweep = dict.fromkeys(SUCCEEDED, "success") | dict.fromkeys(FAILED, "failed")
    of_sweep |= dict.fromkeys(STOPPED, "to be resumed")
    rows = [
        [code(status), meaning, code(str(codes.get(status, ""))), of_sweep.get(status, "")]
        for status, meaning in STATUSES.items()
    ]
    yield from table(("status", "what it means", "exit code", "in a sweep"), rows)
    yield "Exit code 2: the command or the config is wrong, nothing was trained.\n"
    yield "## Exceptions\n\nIn Python each is an exception of `strobe.errors`.\n"
    rows = [
        [code(kind.__name__), (kind.__doc__ or "").partition("\n")[0], code(kind.status), code(str(kind.exit_code))]
        for kind in errors()
        if kind.__module__ == "strobe.errors"
    ]
    yield from table(("exception", "", "status", "exit code"), rows)


def _directory() -> Iterator[str]:
    yield "# A run's directory\n"
    yield "`outputs/train/<date>/<time>` of a single run, `outputs/sweeps/<name>/<number>` of a sweep's.\n"
    yield from table(("file", "what it holds"), ([code(name), meaning] for name, meaning in FILES.items()))
    yield "## report.json { #reportjson }\n"
    yield "It is there from the first second, and is replaced whole. Times are in seconds.\n"
    yield from table(("field", "what it holds"), ([code(name), meaning] for name, meaning in REPORT.items()))


def _metrics() -> Iterator[str]:
    yield "# Metrics\n"
    yield "A metric is named `<split>/<metric>`: `train/` over an epoch of training, as the weights changed; `val/` on"
    yield "the validation examples after it; `test/` on the test examples, once, with the best epoch's weights."
    yield "`train/loss_step` and `lr` are logged by step. Names are what `monitor.metric` and `objective` take.\n"
    tasks = {metric: [] for shipped in _SHIPPED.values() for metric in shipped.metrics or {}}
    modes: dict[str, str] = {}
    for shipped in _SHIPPED.values():
        for metric, mode in (shipped.metrics or {}).items():
            tasks[metric].append(shipped.name.rpartition(".")[2])
            modes[metric] = mode
    rows = [
        [code(metric), METRICS.get(metric, ""), "higher" if modes[metric] == "max" else "lower", ", ".join(of)]
        for metric, of in tasks.items()
    ]
    yield from table(("metric", "what it is", "better is", "logged by"), rows)
    yield "Others: the group [`metrics`](config-metrics.md), and whatever [a task of yours](../tasks.md) logs.\n"


def _variables() -> Iterator[str]:
    yield "# Environment variables\n"
    yield "None has to be set. Libraries underneath (PyTorch, Hydra, Ray, SLURM) read more of their own.\n"
    yield from table(("variable", "what it does"), ([code(name), meaning] for name, meaning in VARIABLES.items()))
