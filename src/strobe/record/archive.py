"""A checkpoint as a file from anywhere: what is loaded of it takes no more memory than the file takes on the disk."""

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from strobe.errors import CheckpointError, first_line
from strobe.record.files import NotRegularError, regular_file

_MOST_ENTRIES = 1_000_000
_DEEPEST = 100
_SMALL = 2**20  # bytes that any tensor may have, however small the file


class UnsafeArchiveError(Exception):
    """A file is no archive of the kind that torch writes; says why."""


@contextmanager
def opened_archive(path: Path) -> Iterator[IO[bytes]]:
    """Open a checkpoint whose entries are whole, stored as they are and apart, as torch stores them.

    Raises:
        OSError: If it can't be opened.
        UnsafeArchiveError: If it is not such a file.
        zipfile.BadZipFile: If it is no archive, or cut short.
    """
    with _opened(path) as file:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > _MOST_ENTRIES:
                raise UnsafeArchiveError(f"has {len(entries):,} entries")
            if packed := [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
                raise UnsafeArchiveError(f"has compressed entries ({packed[0].filename!r:.100}); torch writes none")
            if sum(entry.file_size for entry in entries) > os.fstat(file.fileno()).st_size:
                raise UnsafeArchiveError("has entries that are larger than the file")
            damaged = archive.testzip()  # torch.load compares no checksums: a flipped bit would load
        if damaged is not None:
            raise UnsafeArchiveError(f"is damaged: {damaged!r:.100} has a wrong checksum")
        file.seek(0)
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with regular_file(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            yield file
    except NotRegularError:
        raise UnsafeArchiveError("is no regular file") from None


@contextmanager
def refusals_told(path: Path, broken: str) -> Iterator[None]:
    """Have whatever goes wrong while a file is read told as the file's.

    Args:
        path: The file.
        broken: What is said of one that is no archive.

    Raises:
        CheckpointError: In place of what was raised.
    """
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except NotRegularError:
        raise CheckpointError(f"{path} is no regular file") from None
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{path} {broken}: {error}") from None
    except UnsafeArchiveError as error:
        raise CheckpointError(f"{path} {error}") from None
    except Exception as error:  # unpickling damaged bytes raises nearly anything
        raise CheckpointError(f"{path} can't be loaded as plain tensors: {first_line(error)}") from None


def refuse_odd_tensors(loaded: Any, path: Path) -> None:
    """Refuse what was loaded if a tensor in it is larger than the file, or of a kind that a run does not save.

    Raises:
        UnsafeArchiveError: If there is such a tensor, or the containers are nested too deeply.
    """
    largest = max(path.stat().st_size, _SMALL)
    seen: set[int] = set()  # a container may stand in many places
    todo: list[tuple[Any, int]] = [(loaded, 0)]
    while todo:
        node, depth = todo.pop()
        if isinstance(node, Tensor):
            if node.layout != torch.strided or node.device.type != "cpu":
                raise UnsafeArchiveError(f"holds a tensor of layout {node.layout} on {node.device}")
            if node.numel() * node.element_size() > largest:
                raise UnsafeArchiveError(f"holds a tensor of {node.numel():,} numbers, more than there are in the file")
        elif isinstance(node, Mapping | list | tuple | set) and id(node) not in seen:
            if depth > _DEEPEST:
                raise UnsafeArchiveError(f"is nested more than {_DEEPEST} deep")
            seen.add(id(node))
            inner = [*node.keys(), *node.values()] if isinstance(node, Mapping) else node
            todo += [(each, depth + 1) for each in inner]
