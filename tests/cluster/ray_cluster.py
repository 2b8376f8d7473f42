"""A Ray cluster of two nodes on loopback, as a fixture: nodes can be killed and added while a sweep runs.

Run as a program, it is the cluster: it starts the nodes, reads what is wanted of it on its standard input, a line each
(`add NAME`, `kill NAME`), and ends with that. So the process of the tests doesn't import Ray.
"""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ray_is_here = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'strobe[ray]'")
ray_group = pytest.mark.xdist_group("ray")  # one process of the tests starts a cluster, and the other has work
_STORE_BYTES = 80_000_000


class RayCluster:
    """A head that holds no jobs, and nodes of one CPU each.

    Args:
        directory: Of its state; a short path, since sockets lie in it.
        nodes: Names; each node has a resource of that name.
        env: Variables of its processes, and of drivers.
    """

    def __init__(self, directory: Path, *nodes: str, **env: str) -> None:
        self.env = {
            "RAY_TMPDIR": str(directory),  # where `auto` looks for a cluster too
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all on loopback: Ray's own switch, of any system
            **env,
        }
        (directory / "ray").mkdir()  # or `Cluster` can't write its address down
        # Nodes don't get the driver's variables on a real cluster, nor its paths.
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
        self._errors = (directory / "errors.txt").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            env=kept | self.env,
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self._pids: dict[str, int] = {}
        head = self._answer()
        self.address: str = head["address"]
        self._head = int(head["pid"])
        for name in nodes:
            self.add(name)

    def add(self, name: str) -> None:
        """Start a node."""
        self._pids[name] = self._asked(f"add {name}")["pid"]

    def kill(self, name: str) -> None:
        """End a node's processes at once, as if its machine had lost its power."""
        node = psutil.Process(self._pids.pop(name))
        _end([node, *node.children(recursive=True)])  # the raylet first: else it may see its workers die, and say so
        self._asked(f"forget {name}")

    def restore(self, *names: str) -> None:
        """Start those of the nodes that there are not."""
        for name in names:
            if name not in self._pids:
                self.add(name)

    def kill_head(self) -> None:
        """End the head's processes at once, and with them the cluster."""
        raylet = psutil.Process(self._head)
        memory = [each for each in self._everything() if "gcs_server" in each.name()]
        _end([*memory, *raylet.children(recursive=True), raylet])

    def close(self) -> None:
        """End all that was started."""
        processes = self._everything()
        self._process.stdin.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        _end([each for each in processes if each.is_running()])
        self._process.wait(20)
        self._process.stdout.close()  # type: ignore[union-attr]
        self._errors.close()

    def _everything(self) -> list[psutil.Process]:
        own = psutil.Process(self._process.pid)
        return [*own.children(recursive=True), own]

    def _asked(self, line: str) -> dict[str, Any]:
        self._process.stdin.write(f"{line}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout:  # type: ignore[union-attr]
            if line.startswith("{"):  # Ray prints too
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(Path(self._errors.name).read_text())


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[RayCluster]:
    """A cluster of `node1` and `node2`, shared by the tests of a module."""
    directory = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # pytest's own are too long for a socket's path
    cluster = RayCluster(directory, "node1", "node2")
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(directory, ignore_errors=True)


def _end(processes: list[psutil.Process]) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(processes, timeout=20)


def _raylet(node: Any) -> int:
    """Process of which all others of a node are children."""
    (started,) = node.all_processes["raylet"]
    return int(started.process.pid)


def _be_the_cluster() -> None:
    from ray.cluster_utils import Cluster

    options = {"node_ip_address": "127.0.0.1", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**options, "num_cpus": 0})
    print(json.dumps({"address": cluster.address, "pid": _raylet(cluster.head_node)}), flush=True)
    nodes = {}
    for line in sys.stdin:
        verb, name = line.split()
        if verb == "add":
            nodes[name] = cluster.add_node(**options, num_cpus=1, resources={name: 1})
            print(json.dumps({"pid": _raylet(nodes[name])}), flush=True)
        else:
            cluster.remove_node(nodes.pop(name), allow_graceful=False)
            print(json.dumps({}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _be_the_cluster()
