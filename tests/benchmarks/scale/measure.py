"""Processor time, wall time and memory of this process and those that it started, between two moments."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


class Stopwatch:
    """Starts when it is made; peaks of memory are those that the kernel (Linux) keeps, forgotten at the start."""

    def __init__(self) -> None:
        self.family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        for process in self.family:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
        self.resident = [process.memory_info().rss for process in self.family]
        self.begun, self.used = time.perf_counter(), self._cpu()

    def read(self) -> dict[str, float]:
        """Seconds since the start, and bytes by which the memory of all processes has grown, added up."""
        wall, cpu = time.perf_counter() - self.begun, self._cpu() - self.used
        peaks = [_peak(process.pid) - before for process, before in zip(self.family, self.resident, strict=True)]
        return {"wall": wall, "cpu": cpu, "peak": sum(peaks), "largest": max(peaks)}

    def _cpu(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.family))


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
