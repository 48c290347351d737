"""Stand-ins for the programs of a batch system, in a folder that is first on the PATH."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path


class Programs:
    """A folder of shell scripts that write down how they were called."""

    def __init__(self, folder: Path, monkeypatch, alone: bool = True) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        monkeypatch.setenv("PATH", f"{self.folder}:/usr/bin:/bin" if not alone else str(self.folder))
        if alone:
            for name in ("sh", "cat", "sleep", "echo"):
                (self.folder / name).symlink_to(f"/bin/{name}")

    def add(self, name: str, body: str = "") -> Path:
        """Write a program that runs `body`; replaces an earlier one."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "$(pwd -P)|$*" >>"{self.folder}/{name}.calls"\n{textwrap.dedent(body)}\n')
        path.chmod(0o755)
        return path

    def calls(self, name: str) -> list[tuple[str, list[str]]]:
        """Folder and arguments of each call."""
        path = self.folder / f"{name}.calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(where, words.split()) for where, _, words in (line.partition("|") for line in lines)]


def slurm_that_takes_a_job(folder: Path, monkeypatch) -> Programs:
    """Programs of a Slurm in which job 41 waits."""
    programs = Programs(folder, monkeypatch)
    programs.add("sbatch", "echo 41")
    programs.add("squeue", "echo '41|PENDING|Resources'")
    programs.add("scancel")
    return programs


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


ROOT = Path(__file__).parents[1]
CHILDREN = {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
"""For jobs that run this checkout."""
