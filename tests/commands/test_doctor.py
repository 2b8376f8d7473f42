"""The check of the installation: all is well here, and what is not well elsewhere is named with its remedy."""

import shutil
from pathlib import Path

import pytest
import torch

from strobe.commands import doctor
from strobe.commands.doctor import Finding, check, main
from tests.conftest import Command


def found(findings: list[Finding], what: str) -> list[Finding]:
    return [finding for finding in findings if finding.what == what]


def test_a_working_installation_is_well(command: Command, tmp_path: Path) -> None:
    done = command("doctor", f"--root={tmp_path / 'data'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("All is well: python -m src.train\n")
    for word in ("python", "packages", "torchvision", "CPU", "training", "TensorBoard"):
        assert f"ok     {word}" in done.stdout
    assert "is not in" in done.stdout  # MNIST
    assert not (tmp_path / "data").exists()


def test_a_package_that_is_too_old_or_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"lightning": "2.6.2"}

    def version(name: str) -> str:
        if name == "optuna":
            raise doctor.PackageNotFoundError(name)
        return versions.get(name, "999") if name == "lightning" else real(name)

    real = doctor.version
    monkeypatch.setattr(doctor, "version", version)
    assert main([f"--root={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    assert "wrong  lightning       2.6.2 is not supported: pip install 'lightning" in printed
    assert "wrong  optuna          is not installed: pip install 'optuna" in printed
    assert printed.endswith("2 wrong\n")


def test_a_torchvision_for_another_torch_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nms(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("torchvision.ops.nms", nms)
    (finding,) = found(list(check(tmp_path)), "torchvision")
    assert finding.state == "wrong"
    assert "does not fit torch" in finding.detail


def test_a_driver_that_torch_cannot_use_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi" if name == "nvidia-smi" else which(name))
    assert [finding.state for finding in found(list(check(tmp_path)), "GPU")] == ["wrong"]


def test_a_place_that_cannot_be_written_to_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (finding,) = found(list(check(tmp_path / "data")), "data")
    assert finding.state == "wrong"
    assert "data.root=<dir>" in finding.detail


def test_a_check_that_breaks_is_a_finding_and_the_others_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken() -> None:
        raise LookupError("no idea")

    monkeypatch.setattr(doctor, "_devices", broken)
    findings = list(check(tmp_path))
    assert Finding("wrong", "broken", "LookupError: no idea") in findings
    assert found(findings, "TensorBoard")
