"""A Slurm of two nodes on this machine, with ports of its own, for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODES, CPUS, MEMORY = 2, 4, 8000
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "munged")


@dataclass(frozen=True)
class Slurm:
    """The folder of its files, logs and state."""

    run: Path

    def ask(self, *command: str) -> str:
        """Run a command of Slurm and give what it says."""
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Name and state of every job that is not over, by its id."""
        lines = self.ask("squeue", "-h", "-t", "pending,running,configuring", "-o", "%i|%j|%T").split()
        return {parts[0]: (parts[1], parts[2]) for parts in (line.split("|") for line in lines)}

    def cancel_all(self) -> None:
        """Leave nothing behind for the next test."""
        if jobs := self.jobs():
            self.ask("scancel", "--full", *jobs)


@pytest.fixture(scope="session")
def slurm_machine():
    if os.geteuid() != 0:
        pytest.skip("a Slurm of our own needs root")
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {', '.join(missing)}; apt-get install slurmctld slurmd slurm-client munge")
    run = Path(tempfile.mkdtemp(prefix="xpcs-slurm-", dir="/tmp"))  # a socket's path must be short
    told = {"RUN": str(run), "NODES": str(NODES), "CPUS": str(CPUS), "MEM": str(MEMORY), "PORT": str(free_ports())}
    before = os.environ.get("SLURM_CONF")
    try:
        start(HERE / "slurm_up.sh", told)
        os.environ["SLURM_CONF"] = str(run / "slurm.conf")
        yield Slurm(run)
    finally:
        subprocess.run(
            [HERE / "slurm_down.sh"], env={**os.environ, **told}, check=False, timeout=60, capture_output=True
        )
        if before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(run, ignore_errors=True)


@pytest.fixture
def slurm(slurm_machine):
    """Give the machine without jobs, and leave it so."""
    slurm_machine.cancel_all()
    yield slurm_machine
    slurm_machine.cancel_all()


def start(script: Path, told: dict[str, str]) -> None:
    # Into a file: the daemons keep what they write to open, and a pipe would never end.
    log = Path(told["RUN"]) / "up.log"
    with log.open("w") as out:
        done = subprocess.run([script], env={**os.environ, **told}, stdout=out, stderr=out, timeout=60, check=False)
    if done.returncode:
        pytest.fail(f"slurm_up.sh ended with {done.returncode}:\n{log.read_text()}")


def free_ports() -> int:
    """First of NODES + 1 ports in a row that nobody listens at."""
    for first in range(26800 + os.getpid() % 400 * 8, 32000, 8):
        try:
            for port in range(first, first + NODES + 1):
                with socket.socket() as there:
                    there.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    pytest.fail("no free ports in a row")
