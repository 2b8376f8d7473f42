"""What a run says of where it came from: the repository it was started in, not ours."""

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conftest import Train, report


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a person's own, with one commit, in which they are."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "net.py").write_text("first = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.chdir(folder)
    return folder


def test_a_run_names_the_commit_of_the_persons_repository(repository: Path, train_tiny: Train) -> None:
    run = train_tiny("trainer.fast_dev_run=true")
    environment = report(run)["environment"]
    assert (environment["git_commit"], environment["git_dirty"]) == (git(repository, "rev-parse", "HEAD"), False)
    assert environment["strobe"] == version("strobe")
    assert not (run / "uncommitted.patch").exists()
    packages = (run / "packages.txt").read_text().splitlines()
    assert f"torch=={version('torch')}" in packages
    assert packages == sorted(packages, key=lambda line: line.partition("==")[0].lower())


def test_what_was_not_committed_is_kept_beside_the_run(repository: Path, train_tiny: Train) -> None:
    (repository / "net.py").write_text("second = 2\n")
    run = train_tiny("trainer.fast_dev_run=true")
    assert report(run)["environment"]["git_dirty"] is True
    git(repository, "checkout", "-q", "net.py")
    git(repository, "apply", str(run / "uncommitted.patch"))
    assert (repository / "net.py").read_text() == "second = 2\n"


@pytest.mark.parametrize("size", ["too large", "no repository"])
def test_a_huge_change_or_no_repository_leaves_no_patch(
    repository: Path, tmp_path: Path, train_tiny: Train, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    if size == "too large":
        (repository / "net.py").write_text("x = 1  # long\n" * 100_000)
    else:
        monkeypatch.chdir(tmp_path)
    run = train_tiny("trainer.fast_dev_run=true")
    assert report(run)["status"] == "completed"
    assert (report(run)["environment"]["git_commit"] is None) == (size == "no repository")
    assert not (run / "uncommitted.patch").exists()


def test_a_secret_that_was_not_committed_stays_out_of_the_patch(repository: Path, train_tiny: Train) -> None:
    (repository / "net.py").write_text("second = 2\nAPI_KEY = 'sk-4711'\n")
    run = train_tiny("trainer.fast_dev_run=true")
    assert "API_KEY = '***'" in (run / "uncommitted.patch").read_text()
    git(repository, "checkout", "-q", "net.py")
    git(repository, "apply", str(run / "uncommitted.patch"))
    assert (repository / "net.py").read_text() == "second = 2\nAPI_KEY = '***'\n"
