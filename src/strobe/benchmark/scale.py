"""What grows: a plan of many jobs, a report over many runs, a run of many epochs."""

import json
from collections.abc import Callable
from pathlib import Path

from strobe.benchmark.child import STROBE, run
from strobe.benchmark.place import Place
from strobe.benchmark.rounds import Figure, Result, interleaved
from strobe.benchmark.tiny import write
from strobe.record.layout import CONFIG, EPOCHS, REPORT

JOBS = 1000
_QUICK_JOBS = 100
_TARGETS = {
    (1000, "report", "s"): 1.0,
    (10_000, "plan", "s"): 50.0,
    (10_000, "plan", "MB"): 300.0,
    (10_000, "report", "s"): 12.0,
}
_EPOCHS_TARGET = 1.1


def scale(place: Place, jobs: int | None) -> Result:
    """Seconds, memory and size of a page of so many jobs; the last epochs' time by the first ones'.

    Args:
        place: Where.
        jobs: How many jobs are planned, and how many runs reported; None: 1000, in a quick look 100.
    """
    effort = place.effort
    count = jobs or effort.of(JOBS, _QUICK_JOBS)
    epochs, part = effort.of(2000, 100), effort.of(100, 20)
    tiny = write(place.new() / "tiny.csv")
    first = place.new() / "run"
    place.train([*tiny, "trainer.max_epochs=2", f"hydra.run.dir={first}"])
    runs = multiplied(first, place.new() / "runs", count)

    def plan() -> dict[str, float]:
        done = place.train(["-m", f"seed=range(0,{count})", "validate=only", *tiny])
        return {"s": done.seconds, "MB": done.peak_mb}

    def report() -> dict[str, float]:
        page = place.new()
        done = run([*STROBE, "report", str(runs), "--out", str(page)], place.new())
        return {"s": done.seconds, "MB": done.peak_mb, "MB of page": (page / "report.html").stat().st_size / 1e6}

    def long() -> dict[str, float]:
        mark = place.new() / "mark"
        noted = ["+callbacks.mark._target_=strobe.benchmark.marks.Epochs", f"+callbacks.mark.path={mark}"]
        place.train([*tiny, f"trainer.max_epochs={epochs}", *noted])
        begun = [float(line) for line in mark.read_text().splitlines()]
        # Without the very first, which makes what all others use.
        early, late = begun[part + 1] - begun[1], begun[-1] - begun[-1 - part]
        return {"first ms": 1000 * early / part, "last ms": 1000 * late / part}

    subjects: dict[str, Callable[[], dict[str, float]]] = {"plan": plan, "report": report, "epochs": long}
    found = interleaved(subjects, effort)
    figures = [
        Figure(f"{name} of {count:,}", unit, [value[unit] for value in found[name]], _TARGETS.get((count, name, unit)))
        for name in ("plan", "report")
        for unit in found[name][0]
    ]
    lasts = found["epochs"]
    figures += [
        Figure(f"an epoch, of the {which} {part}", "ms", [value[f"{which} ms"] for value in lasts])
        for which in ("first", "last")
    ]
    growth = [value["last ms"] / value["first ms"] for value in lasts]
    target = None if effort.quick else _EPOCHS_TARGET
    figures.append(Figure(f"last / first {part} of {epochs:,} epochs", "x", growth, target))
    return Result("scale", f"A plan of {count:,} jobs, a report over as many runs, {epochs:,} epochs", figures)


def multiplied(run_directory: Path, below: Path, count: int) -> Path:
    """Directories like that of a finished run, with other seeds and rates, and no checkpoints.

    Returns:
        The directory that they are in.
    """
    report = json.loads((run_directory / REPORT).read_text(encoding="utf-8"))
    config = (run_directory / CONFIG).read_text(encoding="utf-8")
    epochs = (run_directory / EPOCHS).read_bytes()
    for index in range(count):
        seed, rate = index % 10, round(1e-3 * (1 + index // 10), 6)
        objective = 0.5 + 0.4 * ((index * 7919) % 1000) / 1000  # any order but that of the names
        changed = {
            **report,
            "seed": seed,
            "config_hash": f"{index:016x}",
            "overrides": [f"seed={seed}", f"optimizer.lr={rate}"],
            "objective": objective,
            "best": {**report["best"], "value": objective},
        }
        directory = below / f"{index:05}"
        directory.mkdir(parents=True)
        (directory / REPORT).write_text(json.dumps(changed), encoding="utf-8")
        text = config.replace("seed: 1\n", f"seed: {seed}\n").replace("\n  lr: 0.001\n", f"\n  lr: {rate}\n")
        (directory / CONFIG).write_text(text, encoding="utf-8")
        (directory / EPOCHS).write_bytes(epochs)
    return below
