"""Hosts in network namespaces with TLS between them: a scheduler on the first, workers on the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MAKE_CERTIFICATES = ROOT / "deploy" / "tls" / "make_certificates.sh"
NET, PORT, SILENCE = "10.77.0", 8786, 12
"""Seconds of silence (`SILENCE`) after which a peer counts as lost; distributed refuses less than 11."""


@dataclass
class Machines:
    """Hosts 1 to `count`, their processes and the folder of their logs."""

    prefix: str
    count: int
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tls://{NET}.1:{PORT}"

    def command(self, host: int, *words: str) -> list[str]:
        return [str(HERE / "on_host.sh"), self.prefix, str(host), *words]

    def python(self, host: int, *words: str) -> list[str]:
        return self.command(host, sys.executable, *words)

    def fit(self, *words: str) -> list[str]:
        """Command line of ``xpcs-dask fit`` on the first host."""
        return self.python(1, "-c", "from xpcs_dask.cli import main; main()", "fit", *words)

    def environment(self, role: str | None) -> dict[str, str]:
        """Of a process that has the certificate of `role`, or none."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
        told = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": f"{SILENCE}s", "OMP_NUM_THREADS": "1"}
        certificate = {"DASK_CONFIG": str(self.folder / "tls" / f"{role}.yaml")} if role else {}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return kept | told | certificate | {"PYTHONPATH": path}

    def start(self, name: str, role: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to the log `name`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=self.environment(role), stdout=log, stderr=log, cwd=self.folder)
        self.started.append(process)
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def link(self, host: int, state: str) -> None:
        subprocess.run([str(HERE / "host_link.sh"), self.prefix, str(host), state], check=True, timeout=10)

    def link_is_up(self, host: int) -> bool:
        shown = subprocess.run(
            ["ip", "-n", f"{self.prefix}sw", "-br", "link", "show", f"sw{host}"], check=True, capture_output=True
        )
        return b"LOWER_UP" in shown.stdout

    def wait(self, condition: Callable[[], bool], what: str, limit: float = 30) -> None:
        """Wait until `condition` holds."""
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))
                raise AssertionError(f"{what} has not come within {limit:g} s\n{logs}")
            time.sleep(0.02)


@contextmanager
def machines(folder: Path, count: int = 3, workers: int = 2) -> Iterator[Machines]:
    """Hosts with a TLS scheduler on the first and `workers` processes on each other; all of it is gone afterwards."""
    made = Machines(f"xd{os.getpid()}h", count, folder)
    try:
        subprocess.run([MAKE_CERTIFICATES, folder / "tls", "2"], check=True, capture_output=True, timeout=60)
        subprocess.run([HERE / "hosts_up.sh", made.prefix, str(count), NET], check=True, timeout=30)
        dask = ["-m", "distributed.cli.dask_scheduler"]
        options = ["--host", f"tls://{NET}.1", "--port", str(PORT), "--dashboard-address", "127.0.0.1:0"]
        made.start("scheduler", "scheduler", made.python(1, *dask, *options))
        for host in range(2, count + 1):
            dask = ["-m", "distributed.cli.dask_worker", made.address, "--host", f"tls://{NET}.{host}"]
            options = ["--nworkers", str(workers), "--nthreads", "1", "--memory-limit", "1GiB", "--no-dashboard"]
            place = ["--local-directory", str(folder / f"scratch{host}")]
            made.start(f"worker{host}", "worker", made.python(host, *dask, *options, *place))
        made.wait(lambda: made.log("scheduler").count("Register worker") >= workers * (count - 1), "a worker")
        yield made
    finally:
        subprocess.run([HERE / "hosts_down.sh", made.prefix], check=True, timeout=60)
        for process in made.started:
            process.wait(timeout=30)
