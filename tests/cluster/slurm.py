"""A SLURM of two virtual nodes on this machine: real daemons on loopback, with all their state in one directory."""

import atexit
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

NODES = ("node1", "node2")
slurm_group = pytest.mark.xdist_group("slurm")  # else another process of the tests waits for this one's cluster
_PR_SET_PDEATHSIG = 1
CPUS = 2  # of each node, on paper

_CONF = """
ClusterName=virtual
SlurmctldHost=localhost
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PropagateResourceLimits=NONE
ReturnToService=2
JobRequeue=1
MessageTimeout=10
TCPTimeout=2
SlurmdTimeout=6
InactiveLimit=0
KillWait=3
WaitTime=0
CompleteWait=0
MinJobAge=86400
NodeName=node1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={node1} CPUs={cpus} RealMemory=8000
NodeName=node2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={node2} CPUs={cpus} RealMemory=8000
PartitionName=main Nodes=node1,node2 Default=YES MaxTime=60 DefaultTime=10 State=UP
"""


def missing() -> str | None:
    """Why there can be no SLURM here, in words; None where there can."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
    absent = [program for program in programs if _program(program) is None]
    if absent:
        return f"{', '.join(absent)} not installed (Debian: slurm-wlm and munge)"
    return None if os.geteuid() == 0 else "slurmd has to be started as root"


class Slurm:
    """A context manager: within it, ``env`` is what a command needs to find this SLURM.

    Attributes:
        arguments: What makes a sweep run there.
        env: Variables for a process that submits.
        directory: Of its state and logs.
    """

    arguments = ("hydra/launcher=slurm", "hydra.launcher.slots=2")

    def __init__(self) -> None:
        # Not pytest's: munged, which isn't root, has to get into it.
        self.directory = Path(tempfile.mkdtemp(prefix="strobe-slurm-"))
        self.directory.chmod(0o755)
        self.env = {"SLURM_CONF": str(self.directory / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Slurm":
        atexit.register(self.end)
        try:
            self._start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def call(self, *command: str) -> str:
        """What a command of SLURM's prints."""
        done = subprocess.run(command, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def state(self, job: str) -> str:
        """As in ``JobState`` of ``scontrol show job``."""
        return self.field(job, "JobState")

    def field(self, job: str, name: str) -> str:
        """One field of ``scontrol show job``."""
        words = self.call("scontrol", "--oneliner", "show", "job", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))

    def jobs(self) -> dict[str, str]:
        """Number -> name of all jobs that SLURM remembers."""
        lines = self.call("squeue", "--noheader", "--states=all", "--format=%A %j").splitlines()
        return dict(line.strip().split(maxsplit=1) for line in lines)

    def is_over(self, job: str) -> bool:
        """Whether nothing more will come of a job."""
        return self.state(job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")

    def cancel_all(self) -> None:
        """No job is left, of whichever test."""
        self.call("scancel", "--user=root")
        until(lambda: not self.call("squeue", "--noheader", "--format=%A").split(), "jobs stay in the queue")

    def kill_node(self, name: str) -> None:
        """End a node's daemon and every process of its jobs at once, as a loss of power would."""
        self._daemons[name].kill()
        self._daemons.pop(name).wait()
        for process in self._processes(name):
            _kill(process)

    def restart_node(self, name: str) -> None:
        """Start a node's daemon again, and wait until jobs can run there."""
        if name not in self._daemons:
            self._spawn(name, ["slurmd", "-D", "-N", name])
        until(lambda: self._is_up(name), f"{name} did not come up")

    def end(self) -> None:
        """End the daemons and what they have started, each by its number."""
        atexit.unregister(self.end)
        for name in (*NODES, "slurmctld", "munged"):
            if (daemon := self._daemons.pop(name, None)) is not None:
                _end(daemon)
        for name in NODES:
            for process in self._processes(name):
                _kill(process)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        controller, first, second = _free_ports(3)
        ports = {"controller": controller, "node1": first, "node2": second}
        conf = _CONF.format(directory=self.directory, cpus=CPUS, **ports)
        (self.directory / "slurm.conf").write_text(conf)
        munge = self.directory / "munge"
        munge.mkdir(mode=0o755)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o600)
        for path in (munge, munge / "key"):
            shutil.chown(path, "munge", "munge")
        files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={munge / file}" for option, file in files.items()]
        self._spawn("munged", ["munged", "--foreground", *options], user="munge")
        until((munge / "socket").exists, "munged did not come up")
        self._spawn("slurmctld", ["slurmctld", "-D"])
        for node in NODES:
            self._spawn(node, ["slurmd", "-D", "-N", node])
        for node in NODES:
            until(lambda node=node: self._is_up(node), f"{node} did not come up")

    def _spawn(self, name: str, command: Sequence[str], user: str | None = None) -> None:
        path = _program(command[0])
        assert path is not None
        with (self.directory / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [path, *command[1:]],
                env={**os.environ, **self.env},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C is for the tests
                user=user,
                group=user,
                preexec_fn=_end_with_tests,
            )

    def _is_up(self, name: str) -> bool:
        command = ["sinfo", "--noheader", f"--nodes={name}", "--format=%T"]
        done = subprocess.run(command, env={**os.environ, **self.env}, capture_output=True, text=True, check=False)
        return done.stdout.strip() in ("idle", "mixed", "allocated")

    def _processes(self, node: str) -> Iterator[psutil.Process]:
        """Of a node's jobs: the daemon of each step first, so that nobody tells the controller how they ended."""
        ours = {"SLURM_CONF": self.env["SLURM_CONF"], "SLURMD_NODENAME": node}
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if ours.items() <= environment.items():
                    found.append(process)
            except psutil.Error:
                continue
        keepers = {parent for process in found if (parent := _parent(process)) and parent.name() == "slurmstepd"}
        yield from keepers
        yield from found


def until(condition: Callable[[], bool], otherwise: str, seconds: float = 180) -> None:
    """Wait for something that takes seconds; ``otherwise`` is what went wrong where it never happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def _end_with_tests() -> None:
    """Have the system end this process with the tests, however they end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(daemon: "subprocess.Popen[bytes]") -> None:
    daemon.terminate()  # it ends processes of its own
    try:
        daemon.wait(timeout=5)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
