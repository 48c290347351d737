"""The script is what it was when somebody looked at it, shellcheck finds nothing, and it does what it says.

The golden scripts are in ``scripts``; ``XPCS_DASK_WRITE_GOLDEN=1`` writes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.batch_programs import Programs, alive
from xpcs_dask.cluster.profile import Profile
from xpcs_dask.errors import ConfigError
from xpcs_dask.jobs.batch_script import Place, render

GOLDEN = Path(__file__).parent / "scripts"
PLACE = Place(Path("/data/run 7/fits.zarr"), Path("/data/run 7"))
PLAIN = Place(Path("/data/run7/fits.zarr"), Path("/data"))
SITE = {"python": "/opt/xpcs/bin/python", "walltime": "01:00:00"}
CASES = {
    "slurm_allocation": (
        "allocation",
        PLACE,
        {
            "system": "slurm", "workers": 6, "nodes": 2, "memory": "2GiB", "driver_memory": "1GiB", "queue": "short",
            "account": "beam", "interface": "hsn0", "prologue": ["module load conda"],
            "directives": ["--constraint=cpu"],
        },
    ),
    "slurm_workers": ("workers", PLACE, {"system": "slurm", "workers": 64, "requeue": False}),
    "slurm_tls": (
        "allocation",
        PLACE,
        {
            "system": "slurm", "launcher": "srun --mpi=none", "local_directory": "/local/$USER", "margin": 0,
            "scheduler_interface": "eth0", "directives_skip": ["--mem"],
            "tls": {"ca": "/keys/ca.pem", "cert": "/keys/my cert.pem", "key": "/keys/key.pem"},
        },
    ),
    "pbs_allocation": (
        "allocation",
        PLAIN,
        {
            "system": "pbs", "workers": 32, "nodes": 2, "queue": "preemptable", "account": "beam",
            "directives": ["-l filesystems=home:eagle"],
        },
    ),
    "pbs_pbsdsh": ("allocation", PLAIN, {"system": "pbs", "launcher": "pbsdsh", "requeue": False}),
    "pbs_workers": ("workers", PLAIN, {"system": "pbs"}),
}  # fmt: skip


def script_of(name):
    mode, place, asked = CASES[name]
    return render(Profile(name="test", **SITE, **asked), mode, place)


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_the_golden_one(name):
    golden = GOLDEN / f"{name}.sh"
    if os.environ.get("XPCS_DASK_WRITE_GOLDEN"):
        golden.write_text(script_of(name))
    assert script_of(name) == golden.read_text()


@pytest.mark.parametrize("name", CASES)
def test_shellcheck_finds_nothing(name, tmp_path):
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck; apt-get install shellcheck")
    script = tmp_path / "job.sh"
    script.write_text(script_of(name))
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_asked_for():
    """2 nodes, 3 workers of 2 GiB on each: these are 90 % of what the job gets, and the driver has its own."""
    text = script_of("slurm_allocation")
    for line in (
        *("--nodes=2", "--ntasks=6", "--ntasks-per-node=3", "--time=01:00:00", "--signal=B:TERM@120", "--requeue"),
        *("--partition=short", "--account=beam", "--constraint=cpu", f"--mem={1024 + -(-3 * 2048 * 10 // 9)}M"),
    ):
        assert f"#SBATCH {line}\n" in text
    text = script_of("pbs_allocation")
    assert "#PBS -l select=2:ncpus=16:mpiprocs=16:mem=76914MB\n#PBS -l place=scatter\n" in text
    assert "timeout --preserve-status --signal=TERM $((3480 - SECONDS)) " in text
    assert "mpiexec -n 32 " in text
    assert "--requeue" not in script_of("slurm_workers")
    assert "--mem=" not in script_of("slurm_tls")
    assert "--signal" not in script_of("slurm_tls")


def test_what_cannot_be_asked_for():
    slurm, pbs = (Profile(name="x", system=system, workers=2, nodes=3) for system in ("slurm", "pbs"))
    with pytest.raises(ConfigError, match="2 workers cannot fill 3 nodes"):
        render(slurm, "allocation", PLACE)
    with pytest.raises(ConfigError, match="'both' is not known; choose allocation or workers"):
        render(slurm, "both", PLACE)
    with pytest.raises(ConfigError, match=r"PBS takes no blank.* /data/run 7"):
        render(pbs, "workers", PLACE)


class Job:
    """A rendered script among stand-ins for Python, for the launcher and for the batch system."""

    def __init__(self, tmp_path: Path, programs: Programs, **asked) -> None:
        self.place = Place(tmp_path / "out" / "fits.zarr", tmp_path)
        self.folder = self.place.folder
        self.folder.mkdir(parents=True)
        self.programs, self.mode = programs, asked.pop("mode", "allocation")
        asked = {"system": "slurm", "walltime": "01:00:00", **asked}
        self.system = asked["system"]
        profile = Profile(name="x", python=str(programs.folder / "python"), **asked)
        (self.folder / "job.sh").write_text(render(profile, self.mode, self.place))
        for name in ("sbatch", "qsub"):
            programs.add(name, "env >'" + str(tmp_path / "env") + "'; echo 12")
        for name in ("srun", "mpiexec"):  # workers end when their scheduler does
            programs.add(name, f"for _ in $(seq 300); do [ -e '{tmp_path}/ended' ] && exit; sleep 0.1; done")
        self.queue("RUNNING")

    def queue(self, state: str, requeue: int = 1) -> None:
        self.programs.add(
            "scontrol", f'[ "$1" = requeue ] && exit {requeue}; echo "JobId=11 JobState={state} Reason=None"'
        )

    def driver(self, body: str) -> None:
        self.programs.add(
            "python",
            f"""
            case "$2" in
            distributed.cli.dask_scheduler)
                echo $$ >"{self.folder}/scheduler.pid"
                trap 'touch ended; exit 0' TERM
                for _ in $(seq 300); do sleep 0.1; done ;;
            xpcs_dask) ;;
            *) exit 9 ;;
            esac
            {body}
            """,
        )

    def block(self, number: int) -> None:
        ledger = self.place.output.parent / "fits.zarr.unfinished" / "run-1" / "ledger"
        ledger.mkdir(parents=True, exist_ok=True)
        (ledger / f"{number}.json").write_text("{}")

    def start(self, **environment) -> subprocess.Popen:
        told = {"SLURM_JOB_ID": "11", "PBS_JOBID": "11.pbs", "SLURM_NTASKS": "4", "SLURM_CONF": "/etc/slurm.conf"}
        with (self.folder / "job.log").open("ab") as log:
            return subprocess.Popen(
                ["bash", self.folder / "job.sh"], stdout=log, stderr=log, env={**os.environ, **told, **environment}
            )

    def run(self, **environment) -> int:
        job = self.start(**environment)
        try:
            return job.wait(30)
        finally:
            job.kill()

    @property
    def log(self) -> str:
        return (self.folder / "job.log").read_text()

    def result(self) -> tuple[int, str, str]:
        found = json.loads((self.folder / "result.json").read_text())
        return found["exit_code"], found["job"], found["next"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    return Programs(tmp_path, monkeypatch, alone=False)


TURN = 'mkdir -p out/fits.zarr.unfinished/run-1/ledger; echo "{}" >"out/fits.zarr.unfinished/run-1/ledger/$$.json"'


@pytest.mark.parametrize("system", ["slurm", "pbs"])
@pytest.mark.parametrize("code", [0, 3, 7])
def test_the_exit_code_is_that_of_the_driver_and_nothing_is_left(tmp_path, programs, system, code):
    job = Job(tmp_path, programs, system=system)
    (job.folder / "result.json").write_text('{"exit_code": 75}')
    job.driver(f"[ -e {job.folder}/result.json ] && exit 9; sleep 0.3; exit {code}")
    assert job.run() == code
    assert job.result() == (code, {"slurm": "11", "pbs": "11.pbs"}[system], "")
    calls = [words for where, words in programs.calls("python") if where == str(tmp_path)]
    assert ["-m", "xpcs_dask", "--log", "info", "run", str(job.folder / "job.yaml")] in calls
    assert programs.calls("sbatch") == programs.calls("qsub") == []
    assert not alive(int((job.folder / "scheduler.pid").read_text()))


def test_a_stopped_turn_is_put_into_the_queue_again(tmp_path, programs):
    job = Job(tmp_path, programs)
    job.queue("RUNNING", requeue=0)
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert job.result() == (75, "11", "11")
    assert ["requeue", "11"] in [words for _, words in programs.calls("scontrol")]
    assert programs.calls("sbatch") == []


@pytest.mark.parametrize("mode", ["allocation", "workers"])
@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_or_submitted_again_without_the_size_of_this_job(tmp_path, programs, system, mode):
    job = Job(tmp_path, programs, system=system, mode=mode)
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert job.result()[2] == "12"
    assert (job.folder / "jobs.txt").read_text() == "12\n"
    [(where, words)] = programs.calls("sbatch" if system == "slurm" else "qsub")
    assert (where, words[-1]) == (str(tmp_path), str(job.folder / "job.sh"))
    if system == "slurm":
        names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
        assert "SLURM_CONF" in names
        assert not names & {"SLURM_NTASKS", "SLURM_JOB_ID"}


def test_a_job_that_nobody_takes_ends_with_75(tmp_path, programs):
    job = Job(tmp_path, programs)
    programs.add("sbatch", "echo 'sbatch: error: not from here' >&2; exit 1")
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert job.result() == (75, "11", "")
    assert "not from here" in job.log


@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_turn_without_a_finished_block_is_the_last(tmp_path, programs, system):
    job = Job(tmp_path, programs, system=system)
    job.block(0)
    job.driver("exit 75")
    assert job.run() == 75
    assert job.result()[2] == ""
    assert "ask for a longer walltime" in job.log
    assert programs.calls("sbatch") == programs.calls("qsub") == []


@pytest.mark.parametrize("state", ["CANCELLED", "PREEMPTED", "COMPLETING"])
def test_what_slurm_ends_itself_is_left_to_it(tmp_path, programs, state):
    job = Job(tmp_path, programs)
    job.queue(state, requeue=0)
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert job.result()[2] == ""
    assert f"was ended by Slurm (JobState={state})" in job.log
    assert ["requeue", "11"] not in [words for _, words in programs.calls("scontrol")]


@pytest.mark.parametrize("system", ["slurm", "pbs"])
def test_a_cancelled_job_and_one_that_must_not_do_not_go_on(tmp_path, programs, system):
    job = Job(tmp_path, programs, system=system)
    (job.folder / "cancelled").touch()
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert "was cancelled" in job.log
    shutil.rmtree(job.folder)
    job = Job(tmp_path, programs, system=system, requeue=False)
    job.driver(f"{TURN}; exit 75")
    assert job.run() == 75
    assert job.result()[2] == ""
    assert programs.calls("sbatch") == programs.calls("qsub") == []


WAITING = f"""{TURN}
trap 'sleep 0.5; touch finished; exit 75' TERM
touch ready
while :; do sleep 0.1; done
"""


@pytest.mark.parametrize(("system", "goes_on"), [("slurm", "12"), ("pbs", "")])
def test_a_signal_reaches_the_driver_which_has_time_to_finish(tmp_path, programs, system, goes_on):
    """Slurm announces the end of the walltime so; PBS only that the job is to be deleted."""
    job = Job(tmp_path, programs, system=system)
    job.driver(WAITING)
    running = job.start()
    ends = time.monotonic() + 30
    while not (tmp_path / "ready").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    try:
        assert running.wait(30) == 75
    finally:
        running.kill()
    assert (tmp_path / "finished").exists()
    assert job.result()[::2] == (75, goes_on)


def test_a_timer_stops_the_driver_of_pbs_before_the_walltime(tmp_path, programs):
    job = Job(tmp_path, programs, system="pbs", walltime="00:01:02", margin=60, task_seconds=1)
    job.driver(WAITING)
    assert job.run() == 75
    assert job.result() == (75, "11.pbs", "12")


def test_a_driver_that_is_ended_before_it_can_tell_was_stopped_too(tmp_path, programs):
    job = Job(tmp_path, programs)
    job.driver(f"{TURN}; kill -TERM $$")
    assert job.run() == 75
    assert job.result()[2] == "12"


def test_a_worker_is_one_process_of_one_thread_on_the_scheduler_file(tmp_path, programs, monkeypatch):
    job = Job(tmp_path, programs, memory="2GiB", prologue=["export SITE=beamline"])
    programs.add("python", f'echo "$OMP_NUM_THREADS $NUMBA_NUM_THREADS $SITE $*" >>"{tmp_path}/said"')
    monkeypatch.setenv("TMPDIR", "/scratch/me")
    subprocess.run(["bash", job.folder / "job.sh", "worker"], check=True, env=os.environ, timeout=30)
    told = (tmp_path / "said").read_text().split()
    assert told[:5] == ["1", "1", "beamline", "-m", "distributed.cli.dask_worker"]
    options = dict(zip(told[5::2], told[6::2], strict=True))
    assert options["--scheduler-file"] == str(job.folder / "scheduler.json")
    assert (options["--nworkers"], options["--nthreads"]) == ("1", "1")
    assert options["--memory-limit"] == str(2 * 2**30)
    assert options["--local-directory"] == "/scratch/me"


def test_the_lock_of_a_turn_killed_elsewhere_is_waited_for(tmp_path, programs):
    job = Job(tmp_path, programs, mode="workers")
    job.block(0)
    lock = tmp_path / "out" / "fits.zarr.unfinished" / "lock"
    lock.touch()
    job.driver("exit 0")
    programs.add("sleep", f'rm -f "{lock}"')  # instead of waiting
    assert job.run() == 0
    assert [words for _, words in programs.calls("sleep")] == [["5"]]
    lock.touch()
    os.utime(lock, (time.time() - 90, time.time() - 90))
    assert job.run() == 0
    assert len(programs.calls("sleep")) == 1
