"""What a name, a value or an error of a run does in tables and pages: nothing."""

import csv
import json
import re
from pathlib import Path

import pytest

from strobe.commands.report import main
from strobe.report.cells import csv_cell, html_text, markdown, markdown_code
from strobe.report.write import write_report
from tests.report.test_report import write_failed, write_run


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd|' /C calc'!A0", "-x", "-1+1", "@SUM(A1)", "\uff1d1", " =1", "=", "-", "+1_0"]
)
def test_a_formula_is_text(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["-0.5", "+1", "-1e-5", "1E+10", "-.5", "-inf", "nan", "", "0.1", "a=b", "[64,32]", "x-y"]
)
def test_a_number_is_a_number(text: str) -> None:
    assert csv_cell(text) == text
    assert csv_cell(-0.5) == -0.5
    assert csv_cell(None) is None


def test_a_cell_is_one_line_without_controls() -> None:
    assert csv_cell("\t=1\r\n") == r"\t=1\r\n"
    assert csv_cell("\x1b[31m\u202e") == r"\x1b[31m\u202e"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<img src=x>", r"\<img src=x\>"),
        ("a|b", r"a\|b"),
        ("`rm`", r"\`rm\`"),
        ("[x](javascript:1)", r"[x\](javascript:1)"),
        ("[x][y]", r"[x\][y]"),
        ("[64,32]", "[64,32]"),
        ("a\nb", r"a\\nb"),
        ("**x** ~~y~~ &lt;", r"\*\*x\*\* \~\~y\~\~ \&lt;"),
        ("\\|", r"\\\|"),
        ("max_epochs", "max_epochs"),
    ],
)
def test_text_in_markdown_is_text(text: str, shown: str) -> None:
    assert markdown(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("a\nb", r"`a\nb`")]
)
def test_code_in_markdown_does_not_end_early(text: str, shown: str) -> None:
    assert markdown_code(text) == shown


def test_text_in_a_page_is_text() -> None:
    assert html_text("<b a=\"x\" c='y'>&\x1b\u202e") == r"&lt;b a=&quot;x&quot; c=&#x27;y&#x27;&gt;&amp;\x1b\u202e"


NASTY = "\x1b[2J\x9b31m\r\x07\u202e`|<script>alert(1)</script>[x](y)\n=1+1$\\frac{\ud800"


def test_nothing_that_a_run_says_does_anything_in_a_report(tmp_path: Path) -> None:
    """In the values, the keys, the metric, the error and the directory's name at once; on the terminal too."""
    typed = [f"model.a={NASTY}", f"model.{NASTY}=1", f"=1+1={NASTY}"]
    name = "d\x1b`|<b>"
    write_run(tmp_path / name, 0.5, *typed, metric=f"val/{NASTY}", name=NASTY, tags=[NASTY])
    write_run(tmp_path / "other", 0.25, "model.a=-x", metric=f"val/{NASTY}")
    write_run(tmp_path / "third", 0.25, "model.a=-0.5", metric=f"val/{NASTY}")
    write_failed(tmp_path / f"{name}2", "failed", NASTY, f"model.a={NASTY}2")
    out = tmp_path / "out"
    table = write_report([tmp_path], out)
    files = {path.name: path.read_text() for path in out.iterdir()}
    for text in (table, *files.values()):
        assert not {"\x1b", "\x9b", "\r", "\x07", "\u202e"} & set(text)
    assert files["report.html"].count("<script") == 1
    assert "<b>&" not in files["report.html"]
    without_code = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", files["summary.md"])
    assert re.findall(r"(?<!\\)(?:[<`]|\]\()", without_code) == []
    assert len({line.count("|") - line.count(r"\|") for line in without_code.splitlines() if line.startswith("|")}) == 1
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 5
    cells = [cell for row in rows for cell in row]
    assert "-0.5" in cells
    assert "'-x" in cells
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@") and cell != "-0.5" and cell != "-"]


def test_an_odd_report_among_many_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(20):
        write_run(tmp_path / f"{number}", number / 20, f"lr={number}")
    odd = [
        {"pid": 1e30},
        {"started": 5},
        {"metrics": "x"},
        {"overrides": 5},
        {"timing": []},
        {"best": "x"},
        {"error": 1},
    ]
    for number, fields in enumerate(odd):
        write_run(tmp_path / f"odd{number}", 0.9)
        report = json.loads((tmp_path / f"odd{number}" / "report.json").read_text())
        (tmp_path / f"odd{number}" / "report.json").write_text(json.dumps({**report, **fields}))
    table = write_report([tmp_path], tmp_path)
    assert "20 completed" in table
    assert caplog.text.count("Passed over: ") == len(odd)


def test_a_report_that_can_not_be_written_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "runs" / "one", 0.5)
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "file" / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"can't write {tmp_path / 'file' / 'out'}: Not a directory")
    assert len(said.splitlines()) == 1
