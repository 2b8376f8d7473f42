"""A search's storage: Optuna's journal, whose writers may be killed and whose disk may be full at any byte."""

import errno
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import IO

from filelock import FileLock
from optuna.storages.journal import BaseJournalBackend, JournalFileOpenLock

from strobe.errors import ConfigError
from strobe.machine.mounts import locks_stay_here
from strobe.record.files import read_bounded, regular_file, replacing
from strobe.record.journal_lines import (
    INTERMEDIATE,
    NOTHING,
    STATE,
    Record,
    in_order,
    line_of,
    of_one_study,
    record_of,
    reordered,
)

log = logging.getLogger(__name__)

_LIMIT = 256_000_000  # bytes; a thousand trials of a hundred epochs take 20 million
_PATIENCE_S = 120.0  # for another process's write

_locks_stay_here = cache(locks_stay_here)  # a mount's options don't change, and a journal is locked often


class Journal(BaseJournalBackend):
    """The lines of a file, one record each.

    Unlike in Optuna's own, a line that was never finished is cut before the next one is written, a write that fails
    takes back what it has written, all readers pass over a damaged line alike, and no process that is gone holds the
    lock.

    On NFS the lock, `flock` on a file beside the journal, is kept by the server and so holds between machines: Linux
    makes it a lock of the file's bytes. The journal is opened anew for each read and write, and what was written is on
    the server before the lock is released, so no cache of NFS shows an old content. Where a mount keeps locks on its
    own machine (``nolock``, ``local_lock=flock``), Optuna's lock for NFS, a file that only one process can make, is
    taken as well; if one is killed with it, the others wait half a minute.

    Args:
        path: The file; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines, self._end = 0, 0  # read so far, and the bytes they take

    def read_logs(self, log_number_from: int) -> Iterator[Record]:
        """The records from a line on.

        Raises:
            OSError: If the file can't be read, or is not the one any more that was read before.
        """
        if log_number_from != self._lines:
            self._lines, self._end = 0, 0
        if self._end == 0 and not self._path.exists():
            return
        with _opened(self._path, os.O_RDONLY) as file:
            self._require_grown(file.seek(0, os.SEEK_END))
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written, or never will be
                self._lines += 1
                self._end += len(line)
                if self._lines > log_number_from:
                    yield record_of(line) or NOTHING

    def append_logs(self, logs: list[Record]) -> None:
        """Add records. They are on the disk when this returns; after an error, none of them is.

        Raises:
            OSError: If they can't be written.
        """
        with _locked(self._path), _opened(self._path, os.O_RDWR | os.O_CREAT) as file:
            if (said := _mend_tail(file, self._path)) is not None:
                log.warning("%s", said)
            end = file.seek(0, os.SEEK_END)
            self._require_grown(end)
            try:
                _write(file, b"".join(map(line_of, logs)))
                os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(file.fileno(), end)
                raise

    def _require_grown(self, size: int) -> None:
        if size < self._end:
            raise OSError(errno.ESTALE, "it was cut or replaced while this search used it", str(self._path))


def heal(path: Path, name: str, directions: Sequence[int], *, alone: bool) -> list[str]:
    """Have Optuna read a journal as it was meant.

    A last line that was never finished is cut. Lines that are damaged are left out, and what the others say of a trial
    remains that trial's. What was cut or replaced is kept.

    Args:
        path: The journal; need not exist.
        name: Of its study.
        directions: Of its objectives, as Optuna numbers them.
        alone: Whether no other process works with it: it would not notice that lines have moved.

    Returns:
        What was done, in lines.

    Raises:
        ConfigError: If it is damaged, and another process works with it.
        OSError: If it can't be read or written.
    """
    said: list[str] = []
    with _locked(path):
        with suppress(OSError):
            path.with_name(f"{path.name}.lock").unlink()  # Optuna's own lock, of an earlier version: never released
        if not path.exists():
            return said
        with _opened(path, os.O_RDWR) as file:
            if (cut := _mend_tail(file, path)) is not None:
                said.append(cut)
        try:
            lines = _lines(read_bounded(path, _LIMIT))
        except ValueError:
            lines = [b"not the lines of a journal"]
        read = [record for line in lines if (record := record_of(line)) is not None]
        records = of_one_study(read, name, directions)
        if len(records) == len(lines) and in_order(records):
            return said
        if not alone:
            raise ConfigError(
                f"{path} is damaged, and another process works with it: end that one, and give the command again"
            )
        copy = _free_name(path)
        shutil.copyfile(path, copy)
        lost = len(lines) - len(records)
        _replace(path, [line_of(record) for record in reordered(records, name, directions, lost)])
        return [*said, f"{path} was damaged: {lost} of its {len(lines)} lines are left out, {copy.name} has them all"]


def reopen(path: Path, trials: set[int]) -> None:
    """Make trials unfinished that have finished, without what they have reported.

    Args:
        path: A healed journal that no other process works with.
        trials: Their numbers.

    Raises:
        OSError: If it can't be written.
    """
    with _locked(path):
        lines = _lines(read_bounded(path, _LIMIT))
        told = [record_of(line) or NOTHING for line in lines]
        gone = [record["op_code"] in (STATE, INTERMEDIATE) and record["trial_id"] in trials for record in told]
        _replace(path, [line for line, is_gone in zip(lines, gone, strict=True) if not is_gone])


def _lines(content: bytes) -> list[bytes]:
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def _replace(path: Path, lines: Sequence[bytes]) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"".join(lines))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Optuna's own lock is a link: left by a process that was killed, it holds up the next for half a minute, and for
    # ever where the directory was moved.
    with FileLock(path.with_name(".study.lock"), timeout=_PATIENCE_S), _linked(path):
        yield


@contextmanager
def _linked(path: Path) -> Iterator[None]:
    """Keep out other machines too, where the file system's locks don't."""
    if _locks_stay_here(path.parent) is None:
        yield
        return
    lock = JournalFileOpenLock(str(path.with_name(".study.open")))
    lock.acquire()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # another process has lost its patience
            lock.release()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[IO[bytes]]:
    # What is written has no buffer, which would be written after an error too.
    mode, buffering = ("rb+", 0) if flags & os.O_RDWR else ("rb", -1)
    with regular_file(path, flags) as descriptor, open(descriptor, mode, buffering, closefd=False) as file:
        yield file


def _write(file: IO[bytes], content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _mend_tail(file: IO[bytes], path: Path) -> str | None:
    """End the last line where its writer did not: complete it, or cut it and keep it beside; says so in a line."""
    size = file.seek(0, os.SEEK_END)
    begin, tail = size, b""
    while begin > 0 and b"\n" not in tail:
        length = min(begin, 65536)
        begin = file.seek(begin - length)
        tail = file.read(length) + tail
    tail = tail[tail.rfind(b"\n") + 1 :]
    if not tail:
        return None
    if record_of(tail) is not None:
        file.seek(0, os.SEEK_END)
        _write(file, b"\n")
        return None
    kept = path.with_name(f"{path.name}.cut")
    with suppress(OSError), kept.open("ab") as copy:
        copy.write(tail + b"\n")
    os.ftruncate(file.fileno(), size - len(tail))
    return f"{path}: the last line was never finished; it is cut, and kept in {kept.name}"


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    return next(name for name in names if not os.path.lexists(name))
