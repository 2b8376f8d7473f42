"""The driver's end of the pipe to the process that speaks with Ray."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from strobe.errors import ConfigError
from strobe.sweeps.remote import own_path

_ORIGIN = re.compile(r"^(\[[^\]]*\] *)?([\w./]+:\d+: *)?")  # [2026-11-26 22:03:11,746 E 27643 27658] rpc_client.h:204:

_PROBE_S = 4.0  # until a port has answered
_IMPORT_S = 60.0  # of Ray, from a slow disk
_CONNECT_S = 20.0  # more than a cluster ever takes, on a busy machine too
_START_S = 120.0  # of a cluster of our own, or until the files of a runtime environment are where they should be
_LEAVE_S = 15.0


class Link:
    """A clerk that is connected with a Ray cluster.

    Args:
        address: As `ray.init` takes it, or ``local``.
        runtime_env: Likewise.
        path: Where tasks find modules besides.

    Raises:
        ConfigError: If nobody answers there, or not as this Ray does.
    """

    def __init__(self, address: str, runtime_env: dict[str, Any] | None, path: list[str]) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ConfigError("hydra/launcher=ray needs Ray: pip install -e '.[ray]'")
        self._name = f"hydra.launcher.address={address}"
        self._refused = False
        _probe(address)
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the link
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "strobe.sweeps.engines.ray.clerk", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(own_path())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,  # a Ctrl-C in the terminal goes to the driver
            )
        try:
            self._connection.send((address, runtime_env, path))
            self._await("ready", _IMPORT_S)
            self._await("connected", _START_S if address == "local" or runtime_env else _CONNECT_S)
        except BaseException:
            self.close(at_once=not self._refused)  # one that has an answer leaves by itself, and cleans up
            raise

    def send(self, *message: Any) -> None:
        """Ask the clerk for something; where it is gone, `messages` tells."""
        with suppress(OSError):
            self._connection.send(message)

    def messages(self, timeout: float) -> Iterator[tuple[Any, ...]]:
        """What the clerk says, the first of it within ``timeout`` seconds.

        Raises:
            EOFError: If it is gone.
        """
        try:
            while self._connection.poll(timeout):
                yield self._connection.recv()
                timeout = 0.0
        except OSError as error:
            raise EOFError from error

    def last_words(self) -> str:
        """What Ray printed last, in a line."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()
        return next((first_sentence(line) for line in reversed(lines) if line.strip()), "it gave no reason")

    def close(self, *, at_once: bool = False) -> None:
        """Let the clerk go: Ray ends the tasks of a driver that is gone."""
        self._connection.close()
        if at_once:
            self._process.terminate()
        try:
            self._process.wait(1.0 if at_once else _LEAVE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _await(self, expected: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                for name, *rest in self.messages(left):
                    if name == expected:
                        return
                    self._refused = True
                    raise ConfigError(f"{self._name}: {rest[0]}")
        except EOFError:
            raise ConfigError(f"{self._name}: {self.last_words()}") from None
        raise ConfigError(f"{self._name}: no Ray cluster answers there (waited {seconds:.0f} s)")


def first_sentence(text: str) -> str:
    """What Ray says, without when and where it says so, and without its advice."""
    plain = re.sub(r"\x1b\[\d*m", "", " ".join(text.split()))
    return _ORIGIN.sub("", plain).split(". ")[0][:300]


def _probe(address: str) -> None:
    """Knock at the port: Ray itself would wait for more than a minute."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if address in ("auto", "local"):
        return
    if not colon or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"hydra.launcher.address={address}: must be auto, local, <host>:<port> or ray://<host>:<port>"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()
    except OSError as error:
        raise ConfigError(f"hydra.launcher.address={address}: nobody answers there ({error})") from None
