"""`latest` stands for the newest run, and a note is kept as it was typed."""

import os
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from strobe.commands.report import main as report_main
from strobe.commands.resumed import resumed_run
from strobe.commands.shorthand import quoted, run_directory, run_with_weights, spelt_out
from strobe.errors import ConfigError
from strobe.report.listing import newest_run
from tests.commands.listed import write_run
from tests.conftest import Train, report


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def test_latest_is_the_run_that_was_begun_last(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("outputs/train/2026-11-21/b"), "2026-11-21T10:00:00+00:00")
    newest = write_run(Path("outputs/sweeps/a/0"), "2026-11-22T10:00:00+00:00")
    write_run(Path("outputs/sweeps/a/.replaced/0"), "2026-11-24T10:00:00+00:00")
    old = write_run(Path("outputs/train/2026-11-20/a"), "2026-11-20T10:00:00+00:00")
    os.utime(old / "report.json", (2e9, 2e9))  # written last: resumed, or touched
    assert run_directory("latest") == newest
    assert capsys.readouterr().err == f"latest is {newest}\n"
    assert run_directory("outputs/train") == Path("outputs/train")


def test_latest_is_the_newest_run_that_a_command_can_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = write_run(Path("outputs/train/a"), "2026-11-20T10:00:00+00:00")
    stopped = write_run(Path("outputs/train/b"), "2026-11-21T10:00:00+00:00", status="interrupted", checkpoint=False)
    finder = write_run(Path("outputs/train/c"), "2026-11-22T10:00:00+00:00", checkpoint=False)  # as debug=lr_find
    assert run_directory("latest") == finder, "there is a report of it, and it can be removed"
    assert run_with_weights("latest") == trained
    assert spelt_out(["resume=latest"]) == [f"resume={stopped}"], "it begins anew"
    assert spelt_out(["init_from=latest"]) == [f"init_from={trained}"]
    assert capsys.readouterr().err.splitlines() == [
        f"latest is {finder}",
        f"latest is {trained} ({finder} is newer, and without a checkpoint)",
        f"latest is {stopped} ({finder} is newer, and without anything to resume)",
        f"latest is {trained} ({finder} is newer, and without a checkpoint)",
    ]


def test_without_a_run_of_use_a_line_says_so(here: Path) -> None:
    finder = write_run(Path("outputs/train/c"), checkpoint=False)
    with pytest.raises(ConfigError, match=f"no run below outputs/ has anything to resume, the newest, {finder}"):
        spelt_out(["resume=latest"])


def test_a_directory_of_that_name_wins(here: Path) -> None:
    write_run(Path("outputs/train/x"))
    write_run(Path("latest"))
    assert run_directory("latest") == Path("latest")
    assert spelt_out(["resume=latest"]) == ["resume=latest"]


def test_without_a_run_a_line_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_directory("latest")
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(ConfigError, match="there is no run below outputs/"):
        spelt_out(["resume=latest"])


def test_a_damaged_report_is_not_the_newest(here: Path) -> None:
    run = write_run(Path("outputs/train/a"))
    (write_run(Path("outputs/train/b"), "2026-11-29T10:00:00+00:00") / "report.json").write_text("{")
    assert newest_run() == run


def test_what_is_recorded_of_latest_is_the_directory(here: Path) -> None:
    run = write_run(Path("outputs/train/a"))
    assert spelt_out(["resume=latest", "seed=2"]) == [f"resume={run}", "seed=2"]
    assert spelt_out(["init_from='latest'"]) == [f"init_from={run}"]
    odd = write_run(Path("outputs/train/it's, odd"), "2026-11-29T10:00:00+00:00")
    (typed,) = spelt_out(["init_from=latest"])
    assert OverridesParser.create().parse_override(typed).value() == str(odd)


def test_latest_in_a_sweep_is_refused_as_any_resume_is(here: Path) -> None:
    assert spelt_out(["-m", "resume=latest"]) == ["-m", "resume=latest"]
    with pytest.raises(ConfigError, match="can't be combined with -m"):
        resumed_run(["-m", "resume=latest"], [])


@pytest.mark.parametrize("sweep", ["-m", "sweep=lr"])
def test_a_sweep_has_to_name_the_run_that_it_begins_from(here: Path, sweep: str) -> None:
    write_run(Path("outputs/train/a"))
    with pytest.raises(ConfigError, match="its own jobs are the newest"):
        spelt_out(["init_from=latest", sweep])


@pytest.mark.parametrize("key", ["resume", "init_from"])
def test_a_job_that_may_be_queued_again_has_to_name_its_run(
    here: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(Path("outputs/train/a"))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(ConfigError, match=f"name the directory: {key}={run}"):
        spelt_out([f"{key}=latest"])


def test_a_report_compares_the_latest(here: Path, train_tiny: Train, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        str(train_tiny(f"seed={seed}", "trainer.max_epochs=1", directory=here / "outputs" / str(seed)))
        for seed in (1, 2)
    ]
    assert report_main(["--diff", "latest", runs[0]]) == 0
    shown = capsys.readouterr()
    assert "config seed" in shown.out
    assert "latest is outputs/2" in shown.err


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("note=first try, lr lower", "first try, lr lower"),
        ("note=it's = (better)", "it's = (better)"),
        ("note='quoted, by hand'", "quoted, by hand"),
        ('note="also, so"', "also, so"),
        ("note=zwei\nZeilen ☃", "zwei\nZeilen ☃"),
        ("note=plain", "plain"),
        ("note=größer", "größer"),
        ("note=2026", "2026"),
        ("note=true", "true"),
        ("note=ends so\\\n", "ends so\\\n"),
        ("+note=a,b", "a,b"),
        ("note=null", None),
        ("note=[x, y", "[x, y"),
    ],
)
def test_a_note_may_be_any_text(typed: str, note: str | None) -> None:
    (override,) = spelt_out([typed])
    assert OverridesParser.create().parse_override(override).value() == note


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_quotes_keep_any_text(text: str) -> None:
    (override,) = spelt_out([f"note={quoted(text)}"])
    assert override == f"note={quoted(text)}"
    assert OverridesParser.create().parse_override(override).value() == text


def test_other_keys_are_left_as_they_are() -> None:
    typed = ["seed=1,2", "name=a b", "model.note=a, b", "--config-dir=note=x", "-m"]
    assert spelt_out(typed) == typed


def test_a_note_stands_in_the_report(train_tiny: Train) -> None:
    run = train_tiny("trainer.max_epochs=1", "note='first, \"lower\"'")
    assert report(run)["note"] == 'first, "lower"'
