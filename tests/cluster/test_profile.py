from __future__ import annotations

import pickle
import sys

import dask
import pytest

from xpcs_dask.cluster.profile import WORKER_SHARE, read_profile
from xpcs_dask.errors import ConfigError


def told(**profiles):
    return dask.config.set({"xpcs_dask": {"profiles": profiles}})


@pytest.mark.parametrize(("system", "launcher"), [("slurm", "srun"), ("pbs", "mpiexec")])
def test_a_system_alone_has_defaults(system, launcher):
    profile = read_profile(system)
    assert (profile.name, profile.system, profile.launcher) == (system, system, launcher)
    assert profile.python == sys.executable
    assert profile.walltime == "00:30:00"
    assert profile.seconds == 1800
    assert pickle.loads(pickle.dumps(profile)) == profile


def test_flags_come_before_the_profile_and_that_before_dask_jobqueue():
    pytest.importorskip("dask_jobqueue.config")
    jobqueue = {"jobqueue.slurm.queue": "jq", "jobqueue.slurm.account": "jq", "jobqueue.slurm.walltime": "02:00:00"}
    with dask.config.set(jobqueue), told(site={"system": "slurm", "account": "site", "walltime": "03:00:00"}):
        profile = read_profile("slurm:site", {"walltime": "04:00:00", "local-directory": "/nvme"})
    assert (profile.queue, profile.account, profile.walltime) == ("jq", "site", "04:00:00")
    assert profile.local_directory == "/nvme"


def test_an_empty_value_takes_back_what_dask_jobqueue_has():
    with dask.config.set({"jobqueue.slurm.queue": "jq"}), told(slurm={"queue": None, "memory": None}):
        assert read_profile("slurm").queue is None
        assert read_profile("slurm").memory == "4GiB"


def test_a_profile_may_name_its_system():
    with told(polaris={"system": "pbs"}, nowhere={"queue": "a"}):
        assert read_profile("polaris") == read_profile("pbs:polaris")
        with pytest.raises(ConfigError, match="'polaris' is one of pbs, not of slurm"):
            read_profile("slurm:polaris")
        with pytest.raises(ConfigError, match="'nowhere' does not say its system"):
            read_profile("nowhere")
        with pytest.raises(ConfigError, match=r"no profile 'missing' \(known: nowhere, polaris\).*xpcs_dask.yaml"):
            read_profile("slurm:missing")
    with pytest.raises(ConfigError, match="'sge:x' is not known"):
        read_profile("sge:x")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"wall-time": "1"}, "cluster has no key 'wall_time'; did you mean 'walltime'?"),
        ({"name": "x"}, "cluster has no key 'name'; known are system, workers, "),
        ({"walltime": "30"}, "walltime: '30' is not of the form HH:MM:SS"),
        ({"walltime": "00:61:00"}, "is not of the form HH:MM:SS"),
        ({"memory": "4"}, "memory: 4 is too little for a process"),
        ({"memory": "four"}, "memory: 'four' is not a size such as 4GiB"),
        ({"workers": 0}, "workers: "),
        ({"workers": "many"}, "workers: "),
        ({"log_directory": "/a b"}, "cannot stand in a directive"),
        ({"tls.ca": "ca.pem"}, "cert and key missing"),
        ({"tls.crt": "ca.pem"}, "'crt' is not known; TLS takes ca, cert and key"),
        (
            {"walltime": "00:02:59", "task_seconds": 60},
            "walltime 00:02:59 less margin (120 s) leaves workers 59 s, but one block may take task_seconds = 60 s",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        read_profile("slurm", settings)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_key_in_a_file_is_refused_with_the_file(tmp_path, monkeypatch):
    file = tmp_path / "xpcs_dask.yaml"
    file.write_text("xpcs_dask:\n  profiles:\n    slurm: {mem: 4GiB}\n    other: {system: slurm, workers: none}\n")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        with pytest.raises(ConfigError, match=r"profile 'slurm' has no key 'mem'; did you mean 'memory'\?") as caught:
            read_profile("slurm")
        assert str(file) in str(caught.value)
        with pytest.raises(ConfigError, match="profile 'other', workers: ") as caught:
            read_profile("other")
        assert str(file) in str(caught.value)


def test_the_shortest_walltime_is_accepted():
    assert read_profile("slurm", {"walltime": "00:03:00", "task_seconds": 60}).lifetime == 60


@pytest.mark.parametrize(
    ("walltime", "kept"), [(3600, "01:00:00"), ("1-02:00:00", "26:00:00"), ("100:00:00", "100:00:00")]
)
def test_walltimes_of_yaml_and_of_days(walltime, kept):
    assert read_profile("slurm", {"walltime": walltime}).walltime == kept


def test_a_job_is_asked_for_more_than_its_workers_may_take():
    profile = read_profile("slurm", {"workers": 5, "processes": 2, "memory": "9GiB"})
    assert profile.jobs == 3
    assert profile.job_bytes == 20 * 2**30
    assert profile.processes * profile.worker_bytes == WORKER_SHARE * profile.job_bytes


def test_workers_end_between_the_longest_block_and_the_margin():
    for walltime in ("00:03:00", "00:03:05", "10:00:00"):
        profile = read_profile("slurm", {"walltime": walltime})
        middle = profile.lifetime - profile.stagger
        assert middle + profile.stagger <= profile.seconds - profile.margin
        assert middle - profile.stagger >= profile.task_seconds


def test_the_spill_folder_is_one_word_of_the_shell(tmp_path):
    import subprocess

    def word(place, **variables):
        script = f"printf '%s\\n' {read_profile('slurm', {'local_directory': place}).spill}"
        return subprocess.run(["bash", "-c", script], env=variables, check=True, capture_output=True, text=True).stdout

    assert word("/nvme/$USER/my dir", USER="me") == "/nvme/me/my dir\n"
    assert word('/a"b`c', USER="me") == '/a"b`c\n'
    assert word(None) == "/tmp\n"
    assert word(None, TMPDIR="/t") == "/t\n"
    assert word(None, TMPDIR="/t", SLURM_TMPDIR="/s") == "/s\n"
