"""The plain scripts for batch systems, run by a shell: what they start, how they end, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dask.utils import parse_bytes

from tests.cluster.bits import contents
from tests.deploy.programs import Programs
from tests.deploy.shipped import DEPLOY, read
from xpcs_dask.cluster.connect import parse

SLURM, NODE, PBS = (
    DEPLOY / "slurm" / "one_allocation.sh",
    DEPLOY / "slurm" / "one_node.sh",
    DEPLOY / "pbs" / "polaris.sh",
)
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
BOTH = pytest.mark.parametrize("system", ["slurm", "pbs"])


@pytest.fixture
def programs(tmp_path):
    return Programs.in_folder(tmp_path / "bin")


def begin(programs: Programs, system: str, driver: str, **told: str) -> subprocess.Popen[str]:
    """Start the script as the batch system would."""
    folder = programs.folder.parent
    (folder / "bin" / "activate").write_text("")
    (folder / "nodes").write_text("n1\nn1\nn2\nn2\n")
    of_system = {
        "slurm": {
            "SLURM_JOB_ID": "17",
            "SLURM_NTASKS": "8",
            "SLURM_NTASKS_PER_NODE": "4",
            "SLURM_MEM_PER_NODE": "10000",
        },
        "pbs": {
            "PBS_JOBID": "17.server",
            "PBS_O_WORKDIR": str(folder),
            "PBS_NODEFILE": str(folder / "nodes"),
            "SETTINGS": "run.yaml",
            "XPCS_ENVIRONMENT": str(folder),
        },
    }[system]
    command = ["bash", str(SLURM), "run.yaml"] if system == "slurm" else ["bash", str(PBS)]
    environment = programs.environment(DRIVER=driver, **(of_system | told))
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    said = process.communicate(timeout=30)[1]
    return process.returncode, said


def wait(condition, limit=20):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@BOTH
def test_all_that_is_started_is_what_the_programs_take(programs, system):
    code, said = end(begin(programs, system, "0"))
    assert code == 0, said
    scheduler, driver = read(programs.call("dask", "scheduler").line), read(programs.call("xpcs-dask").line)
    worker = read(programs.call("dask", "worker").line)
    assert (driver["verb"], driver["config"]) == ("run", Path("run.yaml"))
    assert driver["scheduler"] == f"file:{scheduler['scheduler_file']}"
    assert parse(driver["scheduler"]).kind == "file"
    assert worker["scheduler_file"] == scheduler["scheduler_file"]
    assert (worker["nthreads"], worker["death_timeout"]) == (1, "60")
    assert scheduler["dashboard_address"] == "127.0.0.1:0"  # nobody else may look
    assert not list(Path(str(scheduler["scheduler_file"])).parent.glob(".xpcs-dask*"))
    for call in programs.calls():
        assert {name: call.environment[name] for name in ONE_THREAD} == dict.fromkeys(ONE_THREAD, "1")


def test_slurm_workers_and_the_driver_share_the_memory_of_the_first_node(programs):
    assert end(begin(programs, "slurm", "0"))[0] == 0
    srun = programs.call("srun").words
    assert "--ntasks=8" in srun
    assert "--kill-on-bad-exit=0" in srun  # one lost worker does not stop the others
    worker = read(programs.call("dask", "worker").line)
    assert worker["n_workers"] == "1"
    limit, node = parse_bytes(worker["memory_limit"]), 10000 * 2**20
    assert 0.85 * node < (4 + 1) * limit <= 0.9 * node


def test_pbs_starts_one_process_on_each_node_that_starts_the_workers(programs):
    assert end(begin(programs, "pbs", "0", XPCS_WORKERS="3", XPCS_INTERFACE="lo"))[0] == 0
    assert programs.call("mpiexec").words[:4] == ["-n", "2", "--ppn", "1"]
    worker = read(programs.call("dask", "worker").line)
    assert (worker["n_workers"], worker["interface"]) == ("3", "lo")
    assert read(programs.call("dask", "scheduler").line)["interface"] == "lo"


@BOTH
@pytest.mark.parametrize("code", [2, 3, 7])
def test_the_exit_code_is_that_of_the_driver(programs, system, code):
    assert end(begin(programs, system, str(code)))[0] == code
    assert not [call for call in programs.calls() if call.name == "scontrol"]


@BOTH
def test_a_scheduler_that_does_not_start_is_exit_7(programs, system):
    assert end(begin(programs, system, "0", NO_SCHEDULER="1"))[0] == 7
    assert not [call for call in programs.calls() if call.name == "xpcs-dask"]


def test_slurm_s_signal_stops_the_driver_and_the_job_goes_into_the_queue_again(programs):
    job = begin(programs, "slurm", "until asked")
    wait(lambda: programs.waits("xpcs-dask"))
    job.send_signal(signal.SIGTERM)  # as --signal=B:TERM does
    code, said = end(job)
    assert (code, "goes on" in said) == (75, True)
    assert programs.call("scontrol").words == ["requeue", "17"]


def test_a_pbs_job_ends_with_75_before_its_walltime(programs):
    assert end(begin(programs, "pbs", "until asked", XPCS_SECONDS="1"))[0] == 75


@BOTH
def test_nothing_runs_on_when_the_job_is_over(programs, system):
    assert end(begin(programs, system, "0"))[0] == 0
    folder = str(programs.folder)

    def nothing_of_ours():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(word.startswith(folder) for word in words):
                return False
        return True

    wait(nothing_of_ours)


@BOTH
def test_certificates_are_told_to_every_process(programs, system, tmp_path):
    assert end(begin(programs, system, "0", XPCS_TLS="/certificates"))[0] == 0
    scheduler = programs.call("dask", "scheduler")
    assert read(scheduler.line)["protocol"] == "tls"
    import dask

    for call in (scheduler, programs.call("dask", "worker"), programs.call("xpcs-dask")):
        told = dask.config.collect_env(call.environment)["distributed"]["comm"]
        files = dask.config.collect_env(call.environment)["distributed"]["comm"]["tls"]
        assert told["require_encryption"] is True
        assert files.pop("ca_file") == "/certificates/ca.pem"
        roles = {role: {"cert": f"/certificates/{role}.pem", "key": f"/certificates/{role}.key"} for role in files}
        assert files == roles
        assert roles.keys() == {"scheduler", "worker", "client"}


def test_one_node_is_one_command(programs):
    environment = programs.environment(DRIVER="0", SLURM_CPUS_PER_TASK="6", SLURM_MEM_PER_NODE="1000")
    subprocess.run(["bash", NODE, "results", "fits.zarr"], check=True, env=environment, timeout=30)
    [call] = programs.calls()
    told = read(call.line)
    assert (told["verb"], told["paths"], told["output"]) == ("fit", ["results"], Path("fits.zarr"))
    assert (parse(told["scheduler"]).kind, parse(told["scheduler"]).workers) == ("processes", 6)
    assert told["memory"] == "800MiB"


@pytest.mark.parametrize(
    ("script", "words"), [(SLURM, []), (NODE, ["results"]), (PBS, [])], ids=["slurm", "node", "pbs"]
)
def test_a_forgotten_argument_is_said(programs, script, words, tmp_path):
    environment = programs.environment(PBS_O_WORKDIR=str(tmp_path))
    said = subprocess.run(
        ["bash", script, *words], check=False, env=environment, capture_output=True, text=True, timeout=30
    )
    assert said.returncode != 0
    assert "usage:" in said.stderr
    assert not programs.calls()


PASS_ON = """#!/usr/bin/env bash
while [[ $1 != dask ]]; do shift; done
exec "$@"
"""


@pytest.mark.cluster
def test_polaris_script_with_the_real_programs_over_tls(tmp_path):
    """All but the batch system: mpiexec starts its command once, here."""
    import xpcs_dask as xd

    [data] = xd.simulate.write_series(tmp_path / "results", 1, seed=1, frames=20_000)
    make = DEPLOY / "tls" / "make_certificates.sh"
    subprocess.run([make, tmp_path / "tls", "30"], check=True, capture_output=True, timeout=60)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text("")
    (tmp_path / "bin" / "mpiexec").write_text(PASS_ON)
    (tmp_path / "bin" / "mpiexec").chmod(0o755)
    (tmp_path / "nodes").write_text("here\n")
    (tmp_path / "run.yaml").write_text(f"{{inputs: ['{data}'], output: fits.zarr}}")
    told = {
        "PBS_JOBID": "1.server", "PBS_O_WORKDIR": tmp_path, "PBS_NODEFILE": tmp_path / "nodes", "SETTINGS": "run.yaml",
        "XPCS_ENVIRONMENT": tmp_path, "XPCS_TLS": tmp_path / "tls", "XPCS_INTERFACE": "lo", "XPCS_WORKERS": 1,
        "XPCS_MEMORY": "1GiB", "XPCS_SCRATCH": tmp_path, "XPCS_DASK_CACHE": "off",
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(DEPLOY.parent), os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    environment = os.environ | {name: str(value) for name, value in told.items()}
    done = subprocess.run(["bash", PBS], check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "tls://127.0.0.1:" in done.stderr
    manifest = xd.Manifest.read(tmp_path / "fits.zarr.manifest.json")
    assert f"Curves: {manifest.counts.curves}\n" in done.stdout
    assert manifest.config.scheduler.startswith("file:")
    xd.run(inputs=str(data), output=str(tmp_path / "here.zarr"))
    assert contents(tmp_path / "fits.zarr") == contents(tmp_path / "here.zarr")


def directives(script: Path, word: str) -> list[str]:
    lines = script.read_text().splitlines()
    found = [number for number, line in enumerate(lines) if line.startswith(f"#{word} ")]
    code = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert max(found) < code  # what comes after the first command is not read
    return [lines[number].removeprefix(f"#{word} ") for number in found]


@pytest.mark.parametrize("script", [SLURM, NODE], ids=["allocation", "node"])
def test_slurm_is_told_to_warn_in_time_and_to_keep_the_log(script):
    told = directives(script, "SBATCH")
    assert "--requeue" in told
    assert "--open-mode=append" in told
    [seconds] = [int(found[1]) for line in told if (found := re.fullmatch(r"--signal=B:TERM@(\d+)", line))]
    assert seconds >= 60


def test_polaris_is_told_what_it_asks_for():
    told = directives(PBS, "PBS")
    assert {"-q preemptable", "-r y", "-l filesystems=home:grand:eagle", "-l walltime=01:00:00"} <= set(told)
    [work] = re.findall(r"XPCS_SECONDS:-(\d+)", PBS.read_text())
    [kill] = re.findall(r"--kill-after=(\d+)", PBS.read_text())
    assert int(work) + int(kill) < 3600
