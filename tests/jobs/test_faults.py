"""What a machine can do to a job: each fault ends with the bits of the undisturbed run, after the same command."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.results.run import Unfinished
from xpcs_dask.simulate.files import write_series

pytestmark = pytest.mark.cluster

MAIN = "from xpcs_dask.cli import main; main()"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("files"), 8, seed=3, q=np.array([0.005, 0.009]), frames=20_000)


@pytest.fixture(scope="module")
def known(files):
    return xd.fit(xd.open_g2(files), detail="core").compute()


def start(program, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def finish(run, timeout=100):
    try:
        out, err = run.communicate(timeout=timeout)
    finally:
        run.kill()
    return run.returncode, out, err


def fit(*arguments):
    return finish(start(MAIN, "fit", *arguments, "--json"))


def same(store, known):
    found = xd.open_results(store)["group_0"].to_dataset()
    for name in known.data_vars:
        np.testing.assert_array_equal(found[name], known[name], err_msg=name)


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder on a file system of its own, and what sets its size in kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield place, lambda size: subprocess.run(["mount", "-o", f"remount,size={size}k", str(place)], check=True)
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_exit_8_and_the_command_goes_on_when_there_is_room(files, known, small_disk, tmp_path):
    place, resize = small_disk
    job = [*files, "--chunks", "1", "--scheduler", "threads:2"]
    assert fit(*job, "-o", tmp_path / "fits.zarr")[0] == 0
    pages = sum(math.ceil(item.stat().st_size / 4096) for item in (tmp_path / "fits.zarr").rglob("*") if item.is_file())
    resize(3 * pages)  # kB: three quarters of what the store alone takes
    code, _, err = fit(*job, "-o", place / "fits.zarr")
    assert code == 8, err
    assert "the disk is full" in err
    assert "Traceback" not in err
    done = len(list(Unfinished(place / "fits.zarr").folder.glob("run-*/ledger/[0-9]*.json")))
    assert 0 < done < 8
    resize(8 * pages)
    code, out, err = fit(*job, "-o", place / "fits.zarr")
    assert code == 0, err
    assert xd.Manifest.read(json.loads(out)["manifest"]).work.before == done
    same(place / "fits.zarr", known)


DYING = """
import itertools, os, signal, sys
import xpcs_dask.engine.ledger as ledger
import xpcs_dask.results.streamed as streamed
fatal, calls, real = int(sys.argv.pop(1)), itertools.count(), os.replace
def replace(source, target):
    if next(calls) == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
ledger.os.replace = replace
from xpcs_dask.cli import main
main()
"""


def test_killed_in_the_middle_of_any_write(files, known, tmp_path):
    """Each time one call dies between writing a file and giving it its name, further on than the last."""
    job, fatal, deaths = ["fit", *files, "-o", tmp_path / "fits.zarr", "--chunks", "1", "--scheduler", "sync"], 3, 0
    while True:
        code, _, err = finish(start(DYING, fatal, *job))
        if code != -signal.SIGKILL:
            break
        assert not (tmp_path / "fits.zarr").exists()
        deaths, fatal = deaths + 1, fatal + 37
    assert code == 0, err
    assert deaths >= 3
    same(tmp_path / "fits.zarr", known)


SLOW = '''
import time
from xpcs_dask.results.run import fit_block

def slow(task):
    """Sleep for long in the second half of the blocks."""
    open(f"{MARKS}/{task.number}", "w").close()
    if task.number >= 4:
        time.sleep(60)
    return fit_block(task)
'''
STOPPED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import slow_block
import xpcs_dask.results.run as run
run.fit_block = slow_block.slow
from xpcs_dask.cli import main
main()
"""


@pytest.mark.parametrize("scheduler", ["threads:2", "processes:2", "local:2"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stopped_within_ten_seconds_in_the_middle_of_long_blocks(files, known, tmp_path, scheduler, signum):
    marks, out = tmp_path / "marks", tmp_path / "fits.zarr"
    marks.mkdir()
    (tmp_path / "slow_block.py").write_text(f"MARKS = {str(marks)!r}\n{SLOW}")
    job = ["fit", *files, "-o", out, "--chunks", "1", "--scheduler", scheduler]
    run, end = start(STOPPED, *job, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"), time.monotonic() + 90
    while not any(int(mark.name) >= 4 for mark in marks.iterdir()) and time.monotonic() < end:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    begun = time.monotonic()
    run.send_signal(signum)
    code, _, err = finish(run)
    assert time.monotonic() - begun < 10
    assert code == 75, err
    assert "Traceback" not in err, err
    done = {int(item.stem) for item in Unfinished(out).folder.glob("run-*/ledger/[0-9]*.json")}
    assert done
    assert max(done) < 4
    code, printed, err = fit(*job[1:])
    assert code == 0, err
    assert xd.Manifest.read(json.loads(printed)["manifest"]).work.before == len(done)
    same(out, known)


@pytest.mark.slow
def test_one_bad_file_among_a_thousand(files, known, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    names = [folder / f"S{k:04d}_results.hdf" for k in range(1000)]
    for k, name in enumerate(names):
        shutil.copy(files[k % 8], name)
    names[500].write_bytes(names[500].read_bytes()[:3000])
    code, out, err = fit(folder, "-o", tmp_path / "fits.zarr", "--scheduler", "threads:2")
    assert code == 0, err
    report = json.loads(out)
    assert (report["curves"], report["ok"]) == (1998, 1998)
    assert [Path(item["file"]).name for item in report["rejected"]] == ["S0500_results.hdf"]
    manifest = xd.Manifest.read(report["manifest"])
    assert (manifest.counts.files, len(manifest.inputs)) == (1000, 999)
    assert len({item.file for item in manifest.inputs}) == 999
    found = xd.open_results(tmp_path / "fits.zarr")["group_0"]
    each = [int(name[1:5]) % 8 for name in found["file"].values]
    np.testing.assert_array_equal(found["value"], known["value"].values[each])
    np.testing.assert_array_equal(found["stderr"], known["stderr"].values[each])


def test_a_damaged_entry_of_the_cache_is_fitted_again(files, known, tmp_path):
    environment = {"XPCS_CACHE_DIR": str(tmp_path / "kept")}
    job = ["fit", *files, "--cache", "--scheduler", "threads:2"]
    assert finish(start(MAIN, *job, "-o", tmp_path / "first.zarr", **environment))[0] == 0
    entries = [path for path in (tmp_path / "kept").rglob("*.npy") if path.stat().st_size > 0]
    assert len(entries) == 8
    content = bytearray(entries[3].read_bytes())
    content[len(content) // 2] ^= 1
    entries[3].write_bytes(content)
    code, _, err = finish(start(MAIN, *job, "-o", tmp_path / "again.zarr", **environment))
    assert code == 0, err
    work = xd.Manifest.read(tmp_path / "again.zarr.manifest.json").work
    assert (work.cache_hits, work.cache_misses) == (7, 1)
    same(tmp_path / "again.zarr", known)
