"""`strobe new`: a project of a user's own, which works as it is made."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from strobe.commands import new
from strobe.commands.new import main, package_name
from strobe.config.place import CONF
from strobe.errors import ConfigError
from tests.conftest import ROOT, report


def in_project(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a made project, beside an installed Strobe."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as the command makes it, with a name that needs one of its package."""
    place = tmp_path_factory.mktemp("projects")
    done = in_project(place, "-m", "strobe", "new", "my-first")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("my-first")
    assert [path.name for path in place.iterdir()] == ["my-first"]
    return place / "my-first"


@pytest.fixture(scope="module")
def trained(project: Path) -> Path:
    """The project, once the line of its README that trains has been typed."""
    readme = (project / "README.md").read_text()
    line = re.findall(r"^    strobe (train .*experiment=baseline)$", readme, re.MULTILINE)[0]
    done = in_project(project, "-m", "strobe", *line.split(), "hydra.run.dir=outputs/first")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_project_has_all_that_one_needs(here: Path) -> None:
    assert main(["my-first"]) == 0
    files = sorted(str(path.relative_to("my-first")) for path in Path("my-first").rglob("*") if path.is_file())
    assert files == [
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "conf/data/moons.yaml",
        "conf/experiment/baseline.yaml",
        "conf/model/dense.yaml",
        "conf/task/moons.yaml",
        "my_first/__init__.py",
        "my_first/data.py",
        "my_first/net.py",
        "my_first/task.py",
        "pyproject.toml",
        "tests/test_my_first.py",
    ]
    told = tomllib.loads(Path("my-first/pyproject.toml").read_text())
    assert told["project"]["name"] == "my-first"
    assert told["project"]["dependencies"] == ["strobe"]
    assert told["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["my_first"]
    for path in Path("my-first").rglob("*.y*ml"):
        assert yaml.safe_load(path.read_text()), path
    everything = "".join(path.read_text() for path in map(Path("my-first").joinpath, files))
    assert not re.search(rf"my_project|my-project|/home/|/{ROOT.parts[1]}/|/tmp/", everything)
    assert not Path("my-first/.git").exists()
    shipped = {path.relative_to(CONF) for path in CONF.rglob("*.yaml")}  # of one name, Strobe's would count
    assert not shipped & {path.relative_to("my-first/conf") for path in Path("my-first/conf").rglob("*.yaml")}


@pytest.mark.parametrize("name", ["a", "a-name-as-long-as-the-name-of-one-may-be"])
def test_what_is_made_is_formatted_and_checked_whatever_it_is_called(here: Path, name: str) -> None:
    assert main([name]) == 0
    for check in (["format", "--check", "."], ["check", "."]):
        done = in_project(here / name, "-m", "ruff", *check, "--no-cache")
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_line_of_the_readme_trains_as_the_readme_says(trained: Path) -> None:
    (said,) = re.findall(r"test accuracy of about (0\.\d+)", (trained / "README.md").read_text())
    metrics = report(trained / "outputs" / "first")["metrics"]
    assert metrics["test/acc"] == pytest.approx(float(said), abs=0.015)
    assert {"val/f1", "test/loss"} <= set(metrics)


@pytest.mark.slow
def test_the_tests_of_a_project_pass_as_it_is_made(project: Path) -> None:
    done = in_project(project, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.slow
def test_the_other_lines_of_the_readme_run(trained: Path) -> None:
    readme = (trained / "README.md").read_text()
    lines = [each.partition("#")[0].split() for each in re.findall(r"^    strobe (.*#.*)$", readme, re.MULTILINE)]
    assert len(lines) == 6
    for line in lines:
        done = in_project(trained, "-m", "strobe", *line)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


def test_the_page_prints_what_the_readme_prints(project: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "own-project.md").read_text()
    readme = (project / "README.md").read_text()
    printed, tested = (
        {line.partition(" #")[0].strip() for line in re.findall(r"^    (strobe .*)$", text, re.MULTILINE)}
        for text in (page, readme)
    )
    assert printed - tested == {"strobe new my_project"}
    for name in re.findall(r"^\| `(?:my_project/)?([^`]+)`", page, re.MULTILINE):
        assert (project / name).exists() or (project / "my_first" / name).exists(), name


@pytest.mark.parametrize(
    ("name", "package"),
    [("my_project", "my_project"), ("My-Project", "my_project"), ("x", "x"), ("net2", "net2"), ("a__b", "a__b")],
)
def test_a_package_is_called_as_its_project(name: str, package: str) -> None:
    assert package_name(name) == package


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        ("a/b", "is a path"),
        ("..", "is a path"),
        ("a\\b", "is a path"),
        ("class", "Python's own; try strobe new my_class"),
        ("None", "Python's own"),
        ("json", "a module of Python's own is called so; try strobe new my_json"),
        ("strobe", "an installed package is called so"),
        ("Torch", "an installed package is called so"),
        ("hydra-core", "pip would replace it; try strobe new my_hydra_core"),
        ("tests", "a folder beside the package"),
        ("con", "Windows keeps that name for a device; try strobe new my_con"),
        ("LPT1", "Windows keeps that name"),
        ("2fast", "try strobe new my_2fast"),
        ("über net", "try strobe new uber_net"),
        ("名前", "try strobe new my_project"),
        ("a b", "try strobe new a_b"),
        ("a.b", "try strobe new a_b"),
        ("net-", "try strobe new net"),
        ("_x", "try strobe new x"),
        ("a" * 41, f"try strobe new {'a' * 40}"),
        ("a\x1b[2J", "try strobe new a_2j"),
    ],
)
def test_a_name_that_would_not_work_is_refused_in_a_line(
    name: str, words: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        package_name(name)
    assert main([name]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert list(here.iterdir()) == []
    suggested = re.search(r"try strobe new (\S+)$", words)
    assert suggested is None or package_name(suggested[1]) == suggested[1]


def test_what_is_there_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "full").mkdir()
    (here / "full" / "notes.txt").write_text("mine")
    (here / "file").write_text("mine")
    (here / "empty").mkdir()
    (here / "link").symlink_to("empty")
    before = sorted(here.rglob("*"))
    for name in ("full", "file", "link"):
        assert main([name]) == 2
        assert "nothing was changed" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before
    assert main(["empty"]) == 0
    assert (here / "empty" / "README.md").is_file()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_failure_leaves_nothing(
    error: BaseException, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = iter(range(7))
    keep = new._for

    def fails(package: str, text: str) -> str:
        if next(written, None) is None:
            raise error
        return keep(package, text)

    monkeypatch.setattr(new, "_for", fails)
    assert main(["mine"]) == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert list(here.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_what_is_there_by_the_time_it_is_made_is_left_alone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = new._for

    def meanwhile(package: str, text: str) -> str:
        (here / "mine").mkdir(exist_ok=True)
        (here / "mine" / "notes.txt").write_text("mine")
        return keep(package, text)

    monkeypatch.setattr(new, "_for", meanwhile)
    assert main(["mine"]) == 1
    assert [path.name for path in here.rglob("*")] == ["mine", "notes.txt"]
