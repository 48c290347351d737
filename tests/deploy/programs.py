"""Programs that stand in for those of a cluster: each writes down how it was called, and does what scripts wait for."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

NAMES = ("dask", "xpcs-dask", "srun", "mpiexec", "scontrol")
RECORDER = """#!{python} -S
import json, os, signal, sys, time
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([name, words, dict(os.environ)]) + "\\n")
def until_asked(code):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    open({calls!r} + "." + name + words[0] * (name == "dask"), "w").close()
    time.sleep(60)
if name in ("srun", "mpiexec"):
    rest = words[words.index("dask"):]
    os.execvp(rest[0], rest)
if name == "dask" and words[0] == "scheduler":
    if os.environ.get("NO_SCHEDULER"):
        sys.exit(1)
    with open(words[words.index("--scheduler-file") + 1], "w") as file:
        file.write("{{}}")
if name == "dask":
    until_asked(0)
if name == "xpcs-dask":
    ends = time.monotonic() + 10 * ("run" in words)  # as the real one, which waits for a worker
    while not os.path.exists({calls!r} + ".daskworker") and time.monotonic() < ends:
        time.sleep(0.01)
    if os.environ["DRIVER"] == "until asked":
        until_asked(75)
    sys.exit(int(os.environ["DRIVER"]))
"""


@dataclass(frozen=True)
class Call:
    """How a program was called."""

    name: str
    words: list[str]
    environment: dict[str, str]

    @property
    def line(self) -> list[str]:
        return [self.name, *self.words]


@dataclass(frozen=True)
class Programs:
    """A folder with the programs, to be put first on the path."""

    folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Programs:
        """Write the programs."""
        made = cls(folder)
        folder.mkdir()
        for name in NAMES:
            program = folder / name
            program.write_text(RECORDER.format(python=sys.executable, calls=str(made._calls)))
            program.chmod(0o755)
        return made

    @property
    def _calls(self) -> Path:
        return self.folder / "calls.jsonl"

    def waits(self, name: str) -> bool:
        """Say whether a program of that name runs until it is asked to stop."""
        return Path(f"{self._calls}.{name}").exists()

    def calls(self) -> list[Call]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [Call(*json.loads(line)) for line in lines]

    def call(self, *first: str) -> Call:
        """Give the one call whose line begins so."""
        [found] = [call for call in self.calls() if tuple(call.line[: len(first)]) == first]
        return found

    def environment(self, **told: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DASK_", "SLURM_", "PBS_", "XPCS_"))
        }
        return {**kept, "PATH": f"{self.folder}:{os.environ['PATH']}", **told}
