"""The container: what can be known of it without building it."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from strobe.commands.names import COMMANDS
from tests.conftest import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PAGE = (ROOT / "docs" / "docker.md").read_text()


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, each with what follows it."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in found]


def all_of(name: str) -> list[str]:
    return [rest for each, rest in instructions() if each == name]


def copied() -> list[str]:
    """What of the checkout goes into the image."""
    return [source for rest in all_of("COPY") for source in shlex.split(rest)[:-1]]


def runs() -> list[str]:
    """What the steps run, without what they mount."""
    return [re.sub(r"^(--mount=\S+\s+)*", "", rest) for rest in all_of("RUN")]


def goes_to_the_builder(path: str) -> bool:
    """What .dockerignore says of a path: the last of its lines that fits the path, or a folder it lies in, counts."""
    places = [path, *map(str, PurePosixPath(path).parents)][:-1]
    goes = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            anywhere = pattern.removeprefix("**/")
            if any(
                fnmatch(PurePosixPath(place).name, anywhere)
                if pattern != anywhere
                else place.count("/") == pattern.count("/") and fnmatch(place, pattern)
                for place in places
            ):
                goes = line.startswith("!")
    return goes


def test_what_is_copied_is_there_and_goes_to_the_builder() -> None:
    assert {"src/strobe", "conf", "hydra_plugins", "pyproject.toml", "constraints.txt"} <= set(copied())
    for source in copied():
        assert (ROOT / source).exists(), source
        assert goes_to_the_builder(source), source
        assert goes_to_the_builder(f"{source}/deeper/file.py"), source


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", ".env", "outputs/train/x/report.json", "data/mnist.gz", "wandb/run/key"),
        *("src/strobe/.env", "conf/.env", "src/strobe/__pycache__/cli.pyc", "src/train.py", "tests/conftest.py"),
    ],
)
def test_no_secret_run_or_history_goes_to_the_builder(path: str) -> None:
    assert not goes_to_the_builder(path)


def test_nobody_is_root() -> None:
    assert all_of("USER") == ["${USER_ID}:${GROUP_ID}"]
    assert "USER_ID=1000" in all_of("ARG")
    names = [name for name, _ in instructions()]
    assert "RUN" not in names[names.index("USER") :]
    assert 'useradd --uid "$USER_ID"' in runs()[-1], "which refuses the number of a user that there is, such as 0"
    for service in SERVICES.values():
        assert "user" not in service
        assert not service.get("privileged")
        assert service["cap_drop"] == ["ALL"]


def test_a_change_of_the_source_installs_no_package_again() -> None:
    steps = [rest for _, rest in instructions()]
    packages = next(index for index, rest in enumerate(steps) if "--requirement requirements.txt" in rest)
    source = next(index for index, rest in enumerate(steps) if rest.startswith("src/strobe"))
    assert packages < source
    assert "src" not in " ".join(rest for name, rest in instructions()[:packages] if name == "COPY")


@pytest.mark.parametrize("command", runs())
def test_a_step_is_a_command_of_a_shell(command: str) -> None:
    done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_step_that_lists_the_packages_lists_those_of_the_project(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (step,) = (each for each in runs() if "tomllib" in each)
    listing = step.partition("&&")[0].replace("python", shlex.quote(sys.executable), 1)
    subprocess.run(["sh", "-c", listing], cwd=tmp_path, check=True)
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert (tmp_path / "requirements.txt").read_text().splitlines() == asked


@pytest.mark.slow
def test_strobe_is_built_from_what_is_copied(tmp_path: Path) -> None:
    for source in copied():
        target = tmp_path / "build" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), "build"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = ("strobe/cli.py", "strobe/conf/train.yaml", "strobe/commands/project/pyproject.toml.template")
    assert {*wanted, "strobe/commands/project/.gitignore.template", "hydra_plugins/strobe/plugins.py"} <= names


def test_what_is_started_is_there() -> None:
    assert all_of("ENTRYPOINT") == ['["strobe"]']
    (check,) = all_of("HEALTHCHECK")
    assert re.search(r'CMD \["strobe", "(\w+)"\]$', check)[1] in COMMANDS  # type: ignore[index]
    for name, service in SERVICES.items():
        program, *rest = service["entrypoint"]
        if program == "strobe":
            assert rest == ["train"], name
        elif program == "jupyter":
            assert service["build"]["args"]["EXTRA"].startswith(f"jupyter{rest[0]}")
        else:
            assert shutil.which(program, path=str(Path(sys.executable).parent)), program


def test_what_listens_is_reached_from_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert all(isinstance(port, str) and re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_notebooks_are_behind_a_token_that_is_written_nowhere() -> None:
    jupyter = SERVICES["jupyter"]
    assert jupyter["environment"] == ["JUPYTER_TOKEN"]  # of the shell; without one Jupyter draws one
    assert not re.search(r"token=|password|allow-root|JUPYTER_TOKEN[=:]", (ROOT / "compose.yaml").read_text())


def test_what_compose_gives_is_taken() -> None:
    arguments = {rest.partition("=")[0] for rest in all_of("ARG")}
    for name, service in SERVICES.items():
        assert set(service["build"]["args"]) <= arguments
        assert service["shm_size"] == "2gb"
        assert service["init"] is True
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            assert source.startswith("./") or source in COMPOSE["volumes"], name
            assert target in ("/data", "/workspace/outputs", "/workspace/notebooks"), name
    assert all_of("VOLUME") == ['["/data", "/workspace/outputs"]']
    assert set(re.findall(r"--build-arg (\w+)=", PAGE)) <= arguments
    assert set(re.findall(r"\b([A-Z][A-Z_]+)=\S* .*docker compose", PAGE)) <= {*arguments, "JUPYTER_TOKEN"}


def test_no_address_is_written_but_that_of_this_machine() -> None:
    for text in ((ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()):
        assert set(re.findall(r"\w+://([^/:']+)", text)) <= {"127.0.0.1"}


def test_the_page_names_services_and_commands_that_there_are() -> None:
    for name, strobe in re.findall(r"docker compose (?:run|up)(?: --\S+(?: [A-Z_]+)?)*(?: strobe)? ([\w-]+)(.*)", PAGE):
        assert name in SERVICES, name
        assert "=" in strobe or not strobe.strip() or strobe.split()[0] in {*COMMANDS, "#"} or "`" in strobe, strobe
    assert "no image could be built" in PAGE
