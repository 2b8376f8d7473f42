"""One's own configs are known by a key that no one else can read, or they are nobody's."""

import os
from pathlib import Path

import pytest

from strobe.record.signature import NoKeyError, is_signed, key_path, signed, user_key, without_signature

TEXT = "seed: 1\nname: it's ä\n"


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key of this test is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "strobe" / "key"


def test_a_text_is_ones_own_until_anything_of_it_changes(key: Path) -> None:
    text = signed(TEXT)
    assert is_signed(text)
    assert without_signature(text) == TEXT
    assert signed(TEXT) == text
    assert not is_signed(TEXT)
    for other in (text.replace("1", "2", 1), text + "\n", text + text, "\n" + text, text[:-2], text + "x: 1\n", ""):
        assert not is_signed(other)
    key.unlink()
    assert not is_signed(text)
    assert not key.exists(), "to look is not to write"
    assert signed(TEXT) != text, "another user's key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_not_used(key: Path, mode: int) -> None:
    text = signed(TEXT)
    key.chmod(mode)
    assert not is_signed(text)
    assert signed(TEXT) == TEXT
    with pytest.raises(NoKeyError, match=r"can be read or replaced by others: chmod 700 .*; rm "):
        user_key()


@pytest.mark.parametrize("mode", [0o777, 0o730, 0o702])
def test_a_key_that_others_can_replace_is_not_used(key: Path, mode: int) -> None:
    text = signed(TEXT)
    key.parent.chmod(mode)
    assert not is_signed(text)
    assert signed(TEXT) == TEXT


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 65])
def test_a_damaged_key_is_not_used(key: Path, content: bytes) -> None:
    text = signed(TEXT)
    key.write_bytes(content)
    assert not is_signed(text)
    with pytest.raises(NoKeyError, match="is damaged: rm "):
        user_key()


@pytest.mark.parametrize("what", ["link", "directory", "FIFO"])
def test_what_is_no_file_is_no_key(key: Path, tmp_path: Path, what: str) -> None:
    signed(TEXT)
    key.rename(tmp_path / "elsewhere")
    match what:
        case "link":
            key.symlink_to(tmp_path / "elsewhere")
        case "directory":
            key.mkdir()
        case "FIFO":
            os.mkfifo(key, 0o600)
    with pytest.raises(NoKeyError):
        user_key()
    assert signed(TEXT) == TEXT


def test_a_key_is_kept_in_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for relative in ("", "relative/path"):  # which the specification has ignored
        monkeypatch.setenv("XDG_STATE_HOME", relative)
        assert key_path() == tmp_path / ".local/state/strobe/key"
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert signed(TEXT) == TEXT
    assert not (tmp_path / "none").exists(), "a home is not ours to make"


def test_a_process_that_was_killed_as_it_made_the_key_leaves_nothing(key: Path) -> None:
    key.parent.mkdir(parents=True, mode=0o700)
    before = key.with_name(".key.1.tmp")
    before.write_bytes(b"cut")
    first = user_key()
    assert [path.name for path in key.parent.iterdir()] == ["key"]
    os.link(key, key.with_name(".key.2.tmp"))  # killed between its two names
    assert user_key() == first
    assert [path.name for path in key.parent.iterdir()] == ["key"]


def test_a_file_system_without_second_names_keeps_a_key_too(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert user_key() == user_key()
    assert [path.name for path in key.parent.iterdir()] == ["key"]


def test_a_key_that_can_not_be_used_is_said(key: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert signed(TEXT) != TEXT
    assert not caplog.records
    key.write_bytes(b"cut")
    assert signed(TEXT) == TEXT
    assert "is not signed" in caplog.text
    assert f"rm {key}" in caplog.text
