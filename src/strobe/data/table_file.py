"""Reads a table from a file of either format; which one follows from its content."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import psutil

from strobe.data.table_column import Mode, Table
from strobe.data.table_csv import csv_names, read_csv
from strobe.data.table_parquet import MAGIC, parquet_names, read_parquet
from strobe.errors import ConfigError, DatasetError
from strobe.record.files import NotRegularError, regular_file

_MEMORY_PER_BYTE = 4  # of a CSV file: its numbers, and while they are put into order, copies of them


def column_names(path: Path, key: str) -> list[str]:
    """The names of a table's columns, in the order of the file.

    Args:
        path: The file.
        key: The setting that names it.

    Raises:
        ConfigError: If there is no such file, or it needs a package that is not installed.
        DatasetError: If it is no table.
    """
    with _opened(path, key) as file:
        return parquet_names(path, file) if _is_parquet(path, file) else csv_names(path, file)


def read_table(path: Path, key: str, modes: Mapping[str, Mode]) -> Table:
    """Read those columns of a table that ``modes`` names, and nothing of the others.

    Raises:
        ConfigError: If there is no such file, or it needs a package that is not installed.
        DatasetError: If it is no table, or a value in one of these columns can't be used.
    """
    with _opened(path, key) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        read = read_parquet if _is_parquet(path, file) else read_csv
        return read(path, file, sha256, modes)


@contextmanager
def _opened(path: Path, key: str) -> Iterator[BufferedReader]:
    """The file.

    Raises:
        ConfigError: If it can't be opened, or is a directory, a pipe or a device.
        DatasetError: If it can't be read, or memory does not suffice for it.
    """
    try:
        with regular_file(path) as descriptor:
            needed, free = os.fstat(descriptor).st_size * _MEMORY_PER_BYTE, psutil.virtual_memory().available
            if needed > free:
                raise DatasetError(
                    f"{path} takes about {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: "
                    f"use a part of it"
                )
            with open(descriptor, "rb", closefd=False) as file:
                yield file
    except FileNotFoundError:
        raise ConfigError(f"{key}={path}: there is no such file") from None
    except NotRegularError:
        what = "a directory" if path.is_dir() else "a pipe or a device"
        raise ConfigError(f"{key}={path}: it is {what}, give it a CSV or Parquet file") from None
    except OSError as error:
        raise ConfigError(f"{key}={path}: it can't be read: {error.strerror or error}") from error


def _is_parquet(path: Path, file: BufferedReader) -> bool:
    """Whether it is Parquet rather than CSV; leaves the file at its beginning.

    Raises:
        DatasetError: If it is neither.
    """
    head = file.read(4096)
    file.seek(0)
    if head.startswith(MAGIC):
        return True
    if b"\0" in head:
        raise DatasetError(
            f"{path} is neither CSV in UTF-8 nor Parquet: it begins with {head[:4].hex(' ')}; save it as one of them"
        )
    return False
