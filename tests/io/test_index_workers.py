from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aps_file
import psutil
import pytest
import xarray as xr
from answers import same

from xpcs_dask.errors import FileRejected
from xpcs_dask.io import index, index_workers
from xpcs_dask.io.index import Question, read
from xpcs_dask.io.index_workers import number_of_workers, read_in_workers
from xpcs_dask.io.open import open_g2

cluster = pytest.mark.cluster


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPCS_DASK_CACHE", "off")
    monkeypatch.setattr(index_workers, "number_of_workers", lambda files: 2)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("series")
    for i in range(90):
        path = folder / f"r{i}.hdf"
        if i % 10 == 7:
            path.write_text(f"no result {i}")
        else:
            aps_file.write(path, seed=i)
    return [str(folder / f"r{i}.hdf") for i in range(90)]


def children() -> list[Any]:
    """Return processes below this one that run, of those that read files."""
    return [one for one in psutil.Process().children() if "index_workers" in " ".join(one.cmdline())]


@cluster
def test_processes_answer_the_same_in_the_same_order(series: list[str]) -> None:
    question = Question(include=frozenset({"temperature", "count_time"}))
    readings = list(read_in_workers(series[::-1], question))
    assert children() == []
    for path, reading in zip(series[::-1], readings, strict=True):
        here = read(path, question)
        assert same(reading.answer, here.answer)
        assert reading.lasting == here.lasting
    assert sum(isinstance(reading.answer, FileRejected) for reading in readings) == 9


@cluster
def test_the_same_dataset_read_here_or_there(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    here = open_g2(series, on_error="skip")
    monkeypatch.setattr(index, "WORTH_WORKERS", 0.0)
    handed: list[int] = []
    monkeypatch.setattr(index_workers, "number_of_workers", lambda files: handed.append(files) or 2)  # type: ignore[func-returns-value]
    there = open_g2(series, on_error="skip")
    assert handed == [len(series) - index.FEW // 2]
    xr.testing.assert_identical(here.compute(), there.compute())
    assert here.g2.name == there.g2.name
    with pytest.raises(FileRejected) as caught:
        open_g2([path for n, path in enumerate(series) if n >= 40 or n % 10 != 7])
    assert caught.value.path == series[47]
    assert children() == []


@cluster
def test_they_end_when_nobody_asks_any_more(series: list[str]) -> None:
    readings = read_in_workers(series, Question())
    next(readings)
    assert len(children()) == 2
    readings.close()
    assert children() == []


@cluster
def test_they_end_when_the_user_interrupts(series: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH_WORKERS", 0.0)
    running: list[int] = []

    def interrupt(done: int, total: int) -> None:
        running.append(len(children()))
        if running[-1]:
            raise KeyboardInterrupt

    clock = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt) as caught:
        open_g2(series, on_error="skip", progress=interrupt)
    assert caught.traceback
    assert running[-1] == 2
    assert children() == []


@pytest.fixture
def filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let processes import a module of the test, in place of filters, before they read."""

    def write(program: str) -> None:
        (tmp_path / "some_filters.py").write_text(program)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, "some_filters", sys)
        monkeypatch.setattr(index_workers, "FILTERS", ("some_filters",))

    return write


DEADLY = """
import os
from xpcs_dask.io import index_workers
true = index_workers.read
def read(path, question):
    if path.endswith(("r20.hdf", "r21.hdf")):
        os.{end}
    return true(path, question)
index_workers.read = read
"""


@cluster
@pytest.mark.parametrize(("end", "code"), [("_exit(3)", "3"), ("kill(os.getpid(), 11)", "-11")])
def test_a_file_that_ends_its_process_is_rejected(series: list[str], filters: Any, end: str, code: str) -> None:
    filters(DEADLY.format(end=end))
    readings = list(read_in_workers(series, Question()))
    for number, (path, reading) in enumerate(zip(series, readings, strict=True)):
        if number in {20, 21}:
            assert isinstance(reading.answer, FileRejected)
            assert reading.answer.path == path
            assert f"it ended the process that read it (exit code {code})" in reading.answer.reason
            assert not reading.lasting
        else:
            assert same(reading.answer, read(path, Question()).answer)
    assert children() == []


@cluster
def test_what_is_printed_there_does_no_harm(
    series: list[str], filters: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    filters("import os\nprint('noise', flush=True)\nos.write(1, b'and more\\n')")
    readings = list(read_in_workers(series, Question()))
    assert [reading.answer.path for reading in readings] == series
    assert caplog.text == ""  # nothing was read here instead
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("noise\nand more\n") == 2


@cluster
def test_an_error_of_the_program_is_raised_here(
    series: list[str], filters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters("from xpcs_dask.io import index_workers\nindex_workers.read = lambda path, question: 1 / 0")
    assert all(
        same(reading.answer, read(path, Question()).answer)
        for path, reading in zip(series, read_in_workers(series, Question()), strict=True)
    )

    def wrong(path: str, question: Question) -> Any:
        raise ZeroDivisionError(path)

    monkeypatch.setattr(index_workers, "read", wrong)
    with pytest.raises(ZeroDivisionError, match=r"r0\.hdf"):
        list(read_in_workers(series, Question()))
    assert children() == []


@cluster
@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false"])
def test_where_no_process_starts_files_are_read_here(
    series: list[str], executable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    readings = list(read_in_workers(series, Question()))
    assert all(
        same(reading.answer, read(path, Question()).answer) for path, reading in zip(series, readings, strict=True)
    )


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dask.system.cpu_count", lambda: 8)
    assert [number_of_workers(files) for files in (0, 3, 8, 20, 10_000)] == [1, 1, 2, 5, 8]
    monkeypatch.setattr("dask.system.cpu_count", lambda: 500)
    assert number_of_workers(10_000) == index_workers.MOST
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert number_of_workers(10_000) == 1
    monkeypatch.delattr(sys, "frozen")
    monkeypatch.setattr(sys, "executable", "")
    assert number_of_workers(10_000) == 1


UNGUARDED = """
import sys
print("once", flush=True)
from xpcs_dask.io import index, index_workers
index.WORTH_WORKERS = 0.0
index_workers.number_of_workers = lambda files: 2
from xpcs_dask.io.open import open_g2
print(dict(open_g2(sys.argv[1], on_error="skip", chunks=None).sizes), flush=True)
"""

DAEMON = """
import multiprocessing, sys
sys.argv = [sys.argv[0], {folder!r}]
def work():
    exec({script!r}, {{}})
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, daemon=True)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@cluster
@pytest.mark.parametrize("kind", ["script", "standard input", "daemon"])
def test_no_guard_is_needed_and_a_daemon_may_too(series: list[str], tmp_path: Path, kind: str) -> None:
    folder, given = str(Path(series[0]).parent), None
    script = tmp_path / "script.py"
    script.write_text(DAEMON.format(folder=folder, script=UNGUARDED) if kind == "daemon" else UNGUARDED)
    for name in ("numpy.py", "pickle.py"):
        (tmp_path / name).write_text("raise ImportError('from the folder of the user')")
    command = [sys.executable, str(script), folder]
    if kind == "standard input":
        command, given = [sys.executable, "-", folder], UNGUARDED
    ran = subprocess.run(
        [command[0], "-P", *command[1:]], input=given, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (ran.stdout, ran.returncode) == ("once\n{'file': 81, 'qbin': 3, 'delay': 13}\n", 0), ran.stderr
    assert ran.stderr == ""


SLOW = """
import sys, time
from xpcs_dask.io import index_workers
from xpcs_dask.io.index import Question
index_workers.number_of_workers = lambda files: 2
index_workers.BATCH = 1
for reading in index_workers.read_in_workers(sys.argv[1:], Question()):
    print(len(index_workers.__file__), flush=True)
    time.sleep(60)
"""


@cluster
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_interrupted_program(series: list[str], how: signal.Signals) -> None:
    # A shell may have left Ctrl-C ignored for what it starts in the background.
    start = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{SLOW}"
    with subprocess.Popen(
        [sys.executable, "-c", start, *series], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        below = psutil.Process(program.pid).children(recursive=True)
        assert len(below) == 2
        os.kill(program.pid, how)
        assert program.wait(30) != 0
    deadline = time.monotonic() + 30
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in below):
        assert time.monotonic() < deadline, "a process outlived the program that started it"
        time.sleep(0.05)
