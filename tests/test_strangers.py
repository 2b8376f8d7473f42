"""Run directories from someone else: whatever is in them, no command runs or imports what they name.

A canary file would appear if anything did.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from strobe.commands import evaluate, export, predict, report, trust
from strobe.commands.resumed import resumed_run
from strobe.config.saved import saved_config
from strobe.config.strangers import Allowed
from strobe.config.targets import problems_with_targets, resolve
from strobe.errors import ConfigError
from tests.conftest import TEST_CONF, Command, Compose, Train
from tests.conftest import report as report_of

Edit = Callable[[dict[str, Any]], None]

_PATIENCE_S = 300  # a command that waits for a FIFO, or expands a bomb, would take for ever


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_root: Path) -> Path:
    """A run of this user's; copies of it become a stranger's."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from strobe.config.compose import CONF
    from strobe.run.story import train

    directory = tmp_path_factory.mktemp("own") / "run"
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        searched = f"hydra.searchpath=[file://{TEST_CONF}]"
        short = ["trainer=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=3", "scheduler=step"]
        cfg = compose("train", overrides=[searched, "data=tiny", f"data.root={tiny_root}", *short])
    GlobalHydra.instance().clear()
    train(cfg, directory)
    return directory


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What appears when the module `trap` is imported, or anything of `baited`, which may be, is called."""
    mark = tmp_path / "canary"
    (tmp_path / "modules").mkdir()
    sing = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    (tmp_path / "modules" / "trap.py").write_text(sing)
    (tmp_path / "modules" / "baited.py").write_text(
        "def function(*args, **kwargs):\n    " + sing.replace("\n", "\n    ") + "\n"
        "class Thing:\n    def __init__(self, *args, **kwargs):\n        function()\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setenv("CANARY", str(mark))
    monkeypatch.setenv("SECRET", "open-sesame")
    yield mark
    for name in ("trap", "baited"):
        sys.modules.pop(name, None)


@pytest.fixture
def foreign(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, not signed."""
    return shutil.copytree(trained, tmp_path / "foreign")


def edit(directory: Path, change: Edit) -> None:
    config = yaml.safe_load((directory / "config.yaml").read_text())
    change(config)
    (directory / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def put(path: str, value: Any) -> Edit:
    """Set a value; a part of the path that begins with ' is a key as it is."""

    def change(config: dict[Any, Any]) -> None:
        node: Any = config
        *parents, last = path.split("/")
        for parent in parents:
            if node.get(parent) is None:
                node[parent] = {}
            node = node[parent]
        node[int(last) if last.isdigit() else last] = value

    return change


def every_command(directory: Path, *, data_root: Path | None = None) -> Iterator[tuple[str, int]]:
    """Each command that reads a run, in this process: its name and exit code."""
    picture = directory / "none.png"
    trusted = ["--trust", "tests"]  # the dataset's: what is refused is refused for what is planted
    typed = [f"data.root={data_root}"] if data_root else []
    yield "evaluate", evaluate.main([str(directory), *trusted, *typed])
    yield "predict", predict.main([str(directory), str(picture)])
    yield "export", export.main([str(directory), "--format=torch_export", f"--output={directory.parent / 'net.pt2'}"])
    yield "report", report.main([str(directory), f"--out={directory.parent / 'page'}"])
    yield "report --diff", report.main(["--diff", str(directory), str(directory)])
    yield "trust --show", trust.main([str(directory), "--show"])
    try:
        resumed_run([f"resume={directory}", *typed], ["tests"])
    except ConfigError as error:
        print(error, file=sys.stderr)
        yield "resume", 2
    else:
        yield "resume", 0


@pytest.fixture
def codes(
    tiny_root: Path, canary: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Callable[[Path], dict[str, int]]]:
    """Run every command over a directory: none may wake the canary, hang, or end with a traceback."""

    def run(directory: Path) -> dict[str, int]:
        signal.alarm(_PATIENCE_S)
        found = dict(every_command(directory, data_root=tiny_root))
        signal.alarm(0)
        output = capsys.readouterr()
        assert not canary.exists(), output
        assert "trap" not in sys.modules
        assert "Traceback" not in output.out + output.err
        assert "open-sesame" not in output.out + output.err
        longest = max(map(len, output.err.splitlines()), default=0)
        assert longest < 2_000, "no one reads that"
        return found

    yield run
    signal.alarm(0)


def test_a_run_that_is_left_as_it_was_is_ones_own_wherever_it_lies(trained: Path, foreign: Path) -> None:
    moved = foreign.rename(foreign.parent / "elsewhere")
    assert saved_config(moved).data.dataset._target_ == "tests.tiny.TinyDigits"
    edit(moved, put("optimizer/lr", 0.5))
    with pytest.raises(ConfigError) as caught:
        saved_config(moved)
    first, second = sorted(str(caught.value).splitlines(), key=lambda line: "--trust" not in line)
    assert "--trust tests or, after a look at it, strobe trust" in first
    assert "data.root" in second
    assert "type" not in first


def test_a_harmless_run_of_a_stranger_is_used_by_every_command(
    foreign: Path, codes: Callable[[Path], dict[str, int]]
) -> None:
    edit(foreign, put("optimizer/lr", 0.002))
    found = codes(foreign)
    assert found.pop("predict") == 1  # there is no picture
    assert set(found.values()) == {0}, found


TARGETS = [
    *("trap.Thing", "os.system", "builtins.exec", "subprocess.Popen", "unittest.__main__.main", "this.s"),
    *("strobe.__main__.main", "torch.utils.bottleneck.__main__.main", "torch.hub.load", "torch.load", "torch._C.x"),
    *("torch.nn.functional.torch.os.system", "torch.nn.modules.module.torch.hub.load", "lightning.pytorch._x.y"),
    *("torch.distributed.nn.RemoteModule", "torchmetrics.multimodal.CLIPScore", "torch.package.PackageImporter"),
    *("trap", "", ".", "..", ".trap", "trap.", "a b.c", "torch.nn.Linear\nx: y", "torch.nn.trap.Thing", "x" * 200_000),
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: repr(target[:50]))
def test_what_a_strangers_model_may_be_is_looked_up_before_it_is_imported(
    foreign: Path, codes: Callable[[Path], dict[str, int]], target: str
) -> None:
    edit(foreign, put("model/_target_", target))
    found = codes(foreign)
    assert {found[name] for name in ("evaluate", "predict", "export", "resume")} == {2}


NODE = {"_target_": "trap.Thing"}
EVIL: dict[str, Edit] = {
    "hydra": put("hydra", {"callbacks": {"x": NODE}}),
    "hydra env": put("hydra", {"job": {"env_set": {"SECRET": "x"}}, "run": {"dir": "/tmp/elsewhere"}}),
    "defaults": put("defaults", ["evil", {"override hydra/job_logging": "evil"}]),
    "unknown top": put("foo", NODE),
    "top with a dot": put("hydra.callbacks.x", NODE),
    "top no text": put("0", NODE),
    **{
        f"node {path}": put(path, NODE)
        for path in (
            *("data", "data/dataset", "model", "model/activation", "model/a/b/c", "optimizer", "optimizer/lr", "loss"),
            *("scheduler", "scheduler/gamma", "trainer", "trainer/profiler", "trainer/strategy", "trainer/devices"),
            *("callbacks/x", "callbacks/progress/refresh_s", "logger/x", "logger/tensorboard/version"),
            *("trainer/plugins/x", "data/augmentations/x", "data/batch_size", "tags", "name", "seed", "checkpoint/x"),
            *("trainer/plugins/a.b", "callbacks/0", "callbacks/a.b", "data/augmentations/x.y", "model/x.y", "logger/7"),
        )
    },
    **{
        f"list {path}": put(path, [[1, NODE]])
        for path in ("model/hidden", "trainer/plugins", "callbacks", "callbacks/x", "optimizer/betas", "tags", "loss/w")
    },
    "shadowed": lambda config: config["model"].update({"x.y": NODE, "x": {"y": {"_target_": "torch.nn.ReLU"}}}),
    "target in a target": put("model/_target_", NODE),
    "args": put("model/_args_", [NODE]),
    "env": put("name", "${oc.env:SECRET}"),
    "env in a number": put("optimizer/lr", "${oc.decode:${oc.env:SECRET}}"),
    "env in a target": put("model/_target_", "${oc.env:SECRET}"),
    "created": put("model", "${oc.create:{_target_:trap.Thing}}"),
    "nested interpolation": put("note", "${a:" * 400 + "}" * 400),
    "much interpolation": put("note", ["${a:${b}}" * 40] * 200),
    "escape": put("\x1b]0;owned\x07", 1),
    "place root": put("data/root", "/etc"),
    "place url": put("model/x", "https://example.org/net.pt"),
    "place up": put("logger/tensorboard/name", "../../up"),
    "place home": put("trainer/default_root_dir", "~/x"),
    "place relative": put("callbacks/x", {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "src"}),
    "registry": put("trainer/model_registry", "upload"),
}


@pytest.mark.parametrize("name", EVIL)
def test_no_command_follows_what_a_strangers_config_plants(
    foreign: Path, tiny_root: Path, codes: Callable[[Path], dict[str, int]], name: str
) -> None:
    outside = {path: path.stat().st_mtime_ns for path in tiny_root.rglob("*")}
    edit(foreign, EVIL[name])
    if name == "place root":  # which is typed anew by the commands
        assert evaluate.main([str(foreign), "--trust=tests"]) == 2
    else:
        assert codes(foreign)["resume"] == 2
    assert {path: path.stat().st_mtime_ns for path in tiny_root.rglob("*")} == outside


@pytest.mark.parametrize("name", [name for name in EVIL if name.startswith(("node", "list", "shadowed", "args"))])
def test_kinds_are_checked_before_anything_is_called_of_a_run_that_is_trusted_too(
    foreign: Path, canary: Path, name: str
) -> None:
    edit(foreign, EVIL[name])
    config = foreign / "config.yaml"
    config.write_text(config.read_text().replace("trap.Thing", "baited.Thing"))
    codes = {
        trust.main([str(foreign)]),
        evaluate.main([str(foreign)]),
        export.main([str(foreign), "--format=torch_export"]),
    }
    assert codes <= {0, 2}
    try:
        cfg = saved_config(foreign)
    except ConfigError:
        assert "." in name or name[-1].isdigit() or name == "shadowed"  # keys that no one may use
    else:
        assert problems_with_targets(cfg)
    assert not canary.exists()


DAMAGE: dict[str, bytes | str] = {
    "empty": b"",
    "only a comment": b"# nothing\n",
    "null": b"null\n",
    "a list": b"- a\n- b\n",
    "a text": b"just words\n",
    "an empty mapping": b"{}\n",
    "cut short": b"seed: 1\nmodel: {_target_: ",
    "no YAML": b"a: [\n}:\n",
    "binary": bytes(range(256)) * 10,
    "not UTF-8": b"name: \xff\xfe\n",
    "NUL": b"name: a\x00b\n",
    "UTF-16": "seed: 1\n".encode("utf-16"),
    "too large": b"name: " + b"x" * 2_000_000 + b"\n",
    "many values": b"tags: [" + b"a," * 200_000 + b"a]\n",
    "deep": b"model: " + b"[" * 5_000 + b"]" * 5_000 + b"\n",
    "deep mappings": b"model: " + b"{a: " * 900 + b"1" + b"}" * 900 + b"\n",
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "alias of itself": b"a: &a {b: *a}\n",
    "python object": "model: !!python/object/apply:os.system ['touch $CANARY']\n",
    "python name": b"model: !!python/name:os.system\n",
    "pathlib": b"name: !!python/object/apply:pathlib.PosixPath [/etc]\n",
    "own tag": b"model: !evil {a: 1}\n",
    "two documents": b"seed: 1\n---\nseed: 2\n",
    "twice the same key": b"seed: 1\nseed: 2\n",
    "a key that is a list": b"? [a, b]\n: 1\n",
    "a key that is null": b"~: 1\n",
    "huge number": b"seed: " + b"9" * 40_000 + b"\n",
    "huge hexadecimal": b"seed: 0x" + b"f" * 40_000 + b"\n",
    "base 60": b"seed: 1" + b":59" * 15_000 + b"\n",
    "broken interpolation": b"name: ${\nmodel: ${a.b\n",
    "parts missing": b"seed: 1\nmodel: {_target_: strobe.models.simple_nn.SimpleNN}\n",
    "parts that are none": b"data: 1\nmodel: 2\noptimizer: 3\nloss: 4\ntrainer: 5\nmonitor: 6\n",
    "parts that are empty": b"data: {}\nmodel: {}\noptimizer: {}\nloss: {}\ntrainer: {}\nmonitor: {}\n",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_config_is_one_line_and_exit_code_2(
    foreign: Path, codes: Callable[[Path], dict[str, int]], what: str
) -> None:
    content = DAMAGE[what]
    (foreign / "config.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    found = codes(foreign)
    assert found.pop("report") == 0  # for want of a config, a comparison does without
    found.pop("report --diff")
    found.pop("trust --show")
    assert set(found.values()) == {2}, found


@pytest.mark.parametrize("what", ["missing", "a FIFO", "a directory", "an endless device", "a dangling link", "secret"])
def test_a_config_that_is_no_file_is_one_line_and_exit_code_2(
    foreign: Path, codes: Callable[[Path], dict[str, int]], what: str
) -> None:
    path = foreign / "config.yaml"
    path.unlink()
    match what:
        case "a FIFO":
            os.mkfifo(path)
        case "a directory":
            path.mkdir()
        case "an endless device":
            path.symlink_to("/dev/zero")
        case "a dangling link":
            path.symlink_to("nowhere")
        case "secret":
            if os.geteuid() == 0:
                pytest.skip("root reads everything")
            path.touch(mode=0)
    found = codes(foreign)
    assert found.pop("report") == 0
    assert set(found.values()) == {2}, found


@pytest.mark.parametrize("link", ["train.log", "checkpoints", "tensorboard/events.x", "metrics.csv"])
def test_a_strangers_run_is_not_resumed_through_a_link_that_leads_out(
    foreign: Path, tmp_path: Path, canary: Path, tiny_root: Path, link: str
) -> None:
    edit(foreign, put("optimizer/lr", 0.002))
    resume = [f"resume={foreign}", f"data.root={tiny_root}"]
    if link == "checkpoints":
        shutil.move(foreign / link, tmp_path / "moved")
        (foreign / link).symlink_to(tmp_path / "moved")
    else:
        (foreign / link).unlink(missing_ok=True)
        (foreign / link).symlink_to(tmp_path / "bashrc")
    with pytest.raises(ConfigError, match=r"leads out of the run directory.*not signed by you"):
        resumed_run(resume, ["tests"])
    assert trust.main([str(foreign)]) == 0
    assert resumed_run(resume, []) is not None


def test_an_export_does_not_leave_the_run_through_a_link(foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (foreign / "export").symlink_to(tmp_path / "out")
    assert export.main([str(foreign), "--format=torch_export"]) == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_trust_says_what_a_run_names_and_signs_it(
    foreign: Path, canary: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(foreign, put("callbacks/x", NODE))
    before = (foreign / "config.yaml").read_bytes()
    assert trust.main([str(foreign), "--show"]) == 0
    shown = capsys.readouterr().out
    assert "callbacks.x._target_: 'trap.Thing'" in shown
    assert f"data.root: '{tiny_root}' is a place" in shown
    assert shown.endswith("is not signed by you\n")
    assert (foreign / "config.yaml").read_bytes() == before
    assert evaluate.main([str(foreign)]) == 2
    assert trust.main([str(foreign)]) == 0
    assert "is signed by you now" in capsys.readouterr().out
    assert evaluate.main([str(foreign)]) == 0  # which needs no callbacks
    assert trust.main([str(foreign)]) == 0
    assert capsys.readouterr().out.endswith("is signed by you\n")
    edit(foreign, put("model/hidden", 64))
    assert evaluate.main([str(foreign)]) == 2
    assert not canary.exists()


@pytest.mark.parametrize("directory", ["nowhere", "."])
def test_what_is_no_run_is_not_trusted(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust.main([directory]) == 2
    assert "is not a run directory" in capsys.readouterr().err


def test_without_a_key_a_run_trains_and_is_a_strangers(
    train_tiny: Train, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))  # no directory can be made in there
    directory = train_tiny("trainer.max_epochs=1", "trainer.limit_train_batches=2")
    assert report_of(directory)["status"] == "completed"
    assert "# signature" not in (directory / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=r"not signed by you \(.*/file/strobe/key: Not a directory\)"):
        saved_config(directory)
    assert trust.main([str(directory)]) == 2
    named = Allowed.of([], [], [TEST_CONF])  # what the user's own config directory names
    assert saved_config(directory, [f"data.root={tiny_root}"], named).seed == 1
    assert evaluate.main([str(directory), "--trust=tests", f"data.root={tiny_root}"]) == 0


def test_what_the_command_or_a_config_directory_names_is_allowed(tmp_path: Path) -> None:
    for folder, name in (("model", "mine.Net"), ("old_run", "other.Net"), (".hidden", "third.Net")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.yaml").write_text(f"x:\n  _target_: '{name}'\ny: {{_target_: torch.hub.x}}\n")
    (tmp_path / "old_run" / "report.json").touch()
    allowed = Allowed.of(
        ["given.part"], ["model._target_=typed.Net", "+a={b: {'_target_': \"nested.Net\"}}"], [tmp_path]
    )
    for name in (
        "mine.A",
        "typed.B",
        "nested.c.D",
        "given.part.X",
        "torch.hub.x",
        "torch.nn.ReLU",
        "torchmetrics.Accuracy",
    ):
        assert allowed.holds(name), name
    for name in ("other.Net", "third.Net", "given.X", "given.particle.X", "torch.hub.load", "mine", "torch.nn.a.b.C"):
        assert not allowed.holds(name), name
    with pytest.raises(ConfigError, match="must be the name of a package"):
        Allowed.of(["my/models"])


def test_all_that_is_shipped_may_be_named_by_anyone(compose_config: Compose) -> None:
    shipped = {target for path in (TEST_CONF.parent.parent / "conf").rglob("*.yaml") for target in _targets(path)}
    assert len(shipped) > 30
    assert [
        name
        for name in sorted(shipped)
        if not name.startswith(("strobe.commands", "hydra_plugins")) and not Allowed().holds(name)
    ] == []


def _targets(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        if "_target_: " in line:
            yield line.partition("_target_: ")[2].partition(" ")[0].strip("},")


@pytest.mark.parametrize("name", ["unittest.__main__.main", "strobe.__main__.x", "os.__dict__.x", "torch.__loader__"])
def test_programs_are_not_imported_for_a_new_run_either(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose_config: Compose
) -> None:
    (tmp_path / "test_x.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    (line,) = problems_with_targets(compose_config(f"loss._target_={name}"))
    assert "is refused, because no class is named '__" in line
    with pytest.raises(ImportError):
        resolve(name)
    assert not (tmp_path / "canary").exists()


def test_the_object_that_is_checked_is_the_one_that_hydra_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package may have a submodule, and a name of its own that hides it."""
    (tmp_path / "twofold").mkdir()
    (tmp_path / "twofold" / "__init__.py").write_text("class inner:\n    class Net: pass\n")
    (tmp_path / "twofold" / "inner.py").write_text("from torch.nn import ReLU as Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    from hydra.utils import get_object

    assert resolve("twofold.inner.Net") is get_object("twofold.inner.Net")
    assert not isinstance(resolve("twofold.inner.Net"), torch.nn.Module)


def test_the_commands_as_they_are_typed(
    foreign: Path, canary: Path, tiny_root: Path, command: Command, tmp_path: Path
) -> None:
    """R as a search path, its files as Hydra's, its `hydra:` as Hydra's: the ways in that there were."""
    edit(foreign, put("optimizer/lr", 0.002))
    sing = {"_target_": "trap.Thing"}
    for name, content in {
        "hydra/default.yaml": {"callbacks": {"x": sing}},
        "hydra/job_logging/strobe.yaml": {"version": 1, "handlers": {"x": {"()": "trap.Thing"}}},
        "hydra/callbacks/x.yaml": sing,
        "model/mlp.yaml": sing,
        "train.yaml": {"hydra": {"callbacks": {"x": sing}}},
    }.items():
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        (foreign / name).write_text(yaml.safe_dump(content))
    path = os.pathsep.join([str(TEST_CONF.parent.parent), str(tmp_path / "modules")])
    typed = [f"--config-dir={TEST_CONF}", f"resume={foreign}", f"data.root={tiny_root}", "trainer.max_epochs=2"]
    resumed = command("train", *typed, PYTHONPATH=path)
    assert resumed.returncode == 0, resumed.stderr
    assert not canary.exists()
    assert saved_config(foreign).trainer.max_epochs == 2  # it is this user's now
    edit(foreign, put("hydra", {"callbacks": {"x": sing}, "job": {"env_set": {"A": "b"}}}))
    for name, arguments in (("train", typed), ("evaluate", [str(foreign)]), ("trust", [str(foreign)])):
        refused = command(name, *arguments, PYTHONPATH=path)
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        assert "hydra: is Hydra's, and no part of a run's config" in refused.stderr
    assert not canary.exists()


@pytest.mark.slow
def test_a_sweep_that_goes_on_over_a_planted_job_only_fails_it(
    canary: Path, tiny_arguments: list[str], command: Command, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(TEST_CONF.parent.parent), str(tmp_path / "modules")])
    sweep = ["-m", *tiny_arguments, "trainer=cpu", "sweep.name=s", "seed=1,2", "trainer.limit_train_batches=2"]
    assert command("train", *sweep, PYTHONPATH=path).returncode == 0
    jobs = sorted((tmp_path / "cwd/outputs/sweeps/s").glob("0*"))
    edit(jobs[0], put("callbacks/x", NODE))
    written = (jobs[0] / "report.json").read_text()
    (jobs[0] / "report.json").write_text(written.replace('"status": "completed"', '"status": "interrupted"'))
    again = command("train", *sweep, PYTHONPATH=path)
    assert again.returncode == 1
    assert "not signed by you" in (jobs[0] / "console.log").read_text()
    assert [report_of(job)["status"] for job in jobs] == ["interrupted", "completed"]  # as it was
    assert not canary.exists()


def test_the_key_is_made_once_by_eight_processes_at_once(tmp_path: Path) -> None:
    script = "from strobe.record.signature import user_key; print(user_key().hex())"
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    start = [sys.executable, "-c", script]
    processes = [subprocess.Popen(start, env=env, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    keys = {process.communicate(timeout=300)[0] for process in processes}
    assert len(keys) == 1
    assert [path.name for path in (tmp_path / "strobe").iterdir()] == ["key"]
    assert oct((tmp_path / "strobe").stat().st_mode)[-3:] == "700"
    assert oct((tmp_path / "strobe" / "key").stat().st_mode)[-3:] == "600"
