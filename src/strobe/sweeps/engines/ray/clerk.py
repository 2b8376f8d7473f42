"""A process beside a sweep's driver that speaks with a Ray cluster for it: `python -m strobe.sweeps.engines.ray.clerk`.

Ray ends a process whose cluster is lost, installs handlers for signals, and can wait for minutes without a way to stop
it; so none of that happens in the driver. The two speak through a pipe, whose end ends this process.
"""

import os
import pickle
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from strobe.errors import first_line
from strobe.machine.devices import available_cpus
from strobe.sweeps.engine import End
from strobe.sweeps.engines.ray.link import first_sentence
from strobe.sweeps.engines.ray.task import Outcome, Task

_STORE_BYTES = 80_000_000  # of a cluster of our own: what jobs leave are files
_TERMINATED = 143
_LEAVE_S = 5.0


class Clerk:
    """Starts tasks and tells how they end.

    Args:
        ray: The module, connected.
        tell: Sends something to the driver.
        path: Where tasks find modules besides.
    """

    def __init__(self, ray: Any, tell: Callable[..., None], path: Sequence[str]) -> None:
        self._ray = ray
        self._tell = tell
        self._remote = ray.remote(_task)
        self._path = list(path)
        self._refs: dict[str, Any] = {}  # by the notes of a task, which are its own

    def start(self, task: Task, resources: Mapping[str, Any]) -> None:
        """Queue a task; its end is told when it comes."""
        once = {"max_retries": 0, "retry_exceptions": False}  # the sweep decides what is begun again
        ref = self._remote.options(**once, **resources).remote(self._path, pickle.dumps(task))
        self._refs[task.notes] = ref
        ref.future().add_done_callback(lambda future: self._over(task.notes, future))

    def cancel(self, notes: str, force: bool) -> None:
        """Interrupt a task, or end its worker; one in the queue leaves it."""
        if (ref := self._refs.get(notes)) is not None:
            with suppress(ValueError):  # it has just ended
                self._ray.cancel(ref, force=force)

    def look(self) -> None:
        """Tell what each node has, taken or not, again and again: nodes come and go. It waits where nobody answers."""
        while True:
            with suppress(self._ray.exceptions.RayError):
                self._tell("nodes", [node["Resources"] for node in self._ray.nodes() if node["Alive"]])
            time.sleep(1.0)

    def _over(self, notes: str, future: "Future[Outcome]") -> None:
        self._refs.pop(notes, None)
        self._tell("over", notes, end_of(self._ray.exceptions, future.exception() or future.result()))


def end_of(exceptions: Any, result: Outcome | BaseException) -> End:
    """What a task's result, or Ray's exception, means for its job.

    Args:
        exceptions: The module `ray.exceptions`.
        result: Either.
    """
    if isinstance(result, Outcome):
        return End("exited", result.code, result.reason)
    cause = result.cause if isinstance(result, exceptions.RayTaskError) else result
    if isinstance(cause, exceptions.TaskCancelledError | KeyboardInterrupt):
        return End("exited", _TERMINATED)
    if cause is not result:  # it never came to the job
        return End("exited", None, f"its node can't run it: {first_line(cause)}")
    if isinstance(result, exceptions.RuntimeEnvSetupError):
        return End("exited", None, f"hydra.launcher.runtime_env: {' '.join(str(result).split())[:300]}")
    return End("lost", None, f"Ray lost it: {first_sentence(str(result))}")


def _connect(ray: Any, address: str, runtime_env: dict[str, Any] | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": runtime_env}
    if address == "local":
        own = {"num_cpus": available_cpus(), "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        options |= own
    ray.init(address=address, **options)


def _refusal(error: BaseException) -> str:
    chain: BaseException | None = error
    while chain is not None:
        if "token" in str(chain):
            hint = "export RAY_AUTH_MODE=token, with the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
            return f"it asks for a token: {hint}"
        chain = chain.__cause__ or chain.__context__
    return " ".join(str(error).split()) or type(error).__name__


def _task(path: list[str], task: bytes) -> Any:
    """By value on its way to a worker, which can import nothing of ours before it has the driver's paths."""
    sys.path[:0] = [entry for entry in map(os.path.abspath, path) if entry not in sys.path]
    return import_module("strobe.sweeps.engines.ray.task").perform(pickle.loads(task))


def _remove(folder: str) -> None:
    """Remove a folder that processes which are about to end may still write to."""
    deadline = time.monotonic() + _LEAVE_S
    while os.path.lexists(folder) and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.1)


def main() -> None:
    """Connect, and serve until the driver is gone."""
    connection = Connection(int(sys.argv[1]))
    address, runtime_env, path = connection.recv()
    own = None
    if address == "local":
        own = tempfile.mkdtemp(prefix="ray-")
        os.environ |= {"RAY_TMPDIR": own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on loopback alone: Ray's own switch, of any system
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "4")  # seconds that a cluster is asked for
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray = import_module("ray")  # which looks at these variables
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock, suppress(OSError):
            connection.send(message)

    try:
        tell("ready")
        try:
            _connect(ray, address, runtime_env)
        except BaseException as error:  # SystemExit too
            tell("refused", _refusal(error))
            return
        tell("connected")
        clerk = Clerk(ray, tell, path)
        threading.Thread(target=clerk.look, name="nodes", daemon=True).start()
        with suppress(EOFError):  # the driver is gone
            while True:
                name, *arguments = connection.recv()
                getattr(clerk, name)(*arguments)
    finally:
        ray.shutdown()
        if own is not None:
            _remove(own)


if __name__ == "__main__":
    main()
