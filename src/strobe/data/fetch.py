"""Brings a dataset's raw files onto this machine: verified by SHA-256, whole or not at all, once for many processes."""

import http.client
import json
import logging
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from strobe.data.sources import RawFile, Source, require_digest, sha256_of
from strobe.errors import DatasetError

log = logging.getLogger(__name__)

# What a source that fails raises; http.client's and zlib's errors are no OSErrors.
_FAILURES = (OSError, ValueError, EOFError, subprocess.SubprocessError, http.client.HTTPException, zlib.error)
_RECORDED = "SHA256SUMS.json"  # digests of files whose publisher gives only the digest of the archive


def ensure_files(
    directory: Path, files: Sequence[RawFile], sources: Sequence[Source], *, download: bool = True
) -> None:
    """Make sure that every file lies in ``directory`` with the content it should have.

    Many processes may call this at once: one fetches, the others wait and find the files.

    Args:
        directory: Where the files belong.
        files: What is wanted.
        sources: Tried in order until all files are there.
        download: False only checks what is already there.

    Raises:
        DatasetError: If a file is missing or wrong and no source could give it; lists everything tried.
    """
    if not (wrong := _wrong_files(directory, files)):
        return
    reasons = "; ".join(wrong.values())
    if not download:
        raise DatasetError(
            f"{reasons}, and data.download=false. Allow it (data.download=true) or point data.root at a copy"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".lock"):
            if wrong := _wrong_files(directory, files):
                _fetch(directory, [file for file in files if file.name in wrong], sources, reasons)
    except OSError as error:
        raise DatasetError(
            f"can't write the dataset to {str(directory)!r}: {error}. Choose another data.root=<dir>"
        ) from error


def _fetch(directory: Path, files: Sequence[RawFile], sources: Sequence[Source], reasons: str) -> None:
    for leftover in directory.glob(".part-*"):  # of a process that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    tried = []
    for source in sources:
        log.info("Fetching %s from %s", ", ".join(file.name for file in files), source.describe())
        try:
            with _scratch(directory) as scratch:
                source.fetch(files, scratch)
                for file in files:
                    if file.sha256 is not None:
                        require_digest(scratch / file.name, file.sha256)
                _adopt(scratch, directory, files)
            return
        except _FAILURES as error:
            tried.append(f"  {source.describe()}: {error}")
    raise DatasetError(
        f"{reasons}, and no source could give it:\n" + "\n".join(tried) + "\n"
        f"Connect to the network, or put the files into {directory} (data.root=<dir> chooses another place)"
    )


def _adopt(scratch: Path, directory: Path, files: Sequence[RawFile]) -> None:
    """Move complete files into place, each atomically, and record the digests that facts don't give."""
    recorded = _recorded(directory)
    for file in files:
        if file.sha256 is None:
            recorded[file.name] = sha256_of(scratch / file.name)
        with (scratch / file.name).open("rb") as content:
            os.fsync(content.fileno())
    if recorded:
        (scratch / _RECORDED).write_text(json.dumps(recorded, indent=1))
        (scratch / _RECORDED).replace(directory / _RECORDED)
    for file in files:
        (scratch / file.name).replace(directory / file.name)


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".part-", dir=directory))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _wrong_files(directory: Path, files: Sequence[RawFile]) -> dict[str, str]:
    """Name -> what is the matter, for every file that is not as it should be."""
    recorded = _recorded(directory)
    wrong = {}
    for file in files:
        path = directory / file.name
        expected = file.sha256 or recorded.get(file.name)
        if not path.is_file():
            wrong[file.name] = f"{path} is missing"
            continue
        try:
            if expected is not None and sha256_of(path) != expected:
                wrong[file.name] = f"{path} is damaged (wrong SHA-256)"
        except OSError as error:
            wrong[file.name] = f"{path} can't be read ({error.strerror})"
    return wrong


def _recorded(directory: Path) -> dict[str, str]:
    try:
        recorded = json.loads((directory / _RECORDED).read_text())
    except (OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}
