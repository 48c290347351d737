"""The profiles of deploy/: read as the program reads them, and the scripts that come of them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import dask
import pytest
import yaml
from dask.utils import parse_bytes

from tests.deploy.shipped import DEPLOY, read
from xpcs_dask.cluster.profile import Profile, read_profile
from xpcs_dask.errors import ConfigError

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["slurm:site", "slurm:site-debug", "pbs:polaris"]
pytest.importorskip("dask_jobqueue")


def file_of(spec):
    return DEPLOY / spec.partition(":")[0] / "xpcs_dask.yaml"


@pytest.fixture(params=NAMES)
def spec(request):
    with dask.config.set(yaml.safe_load(file_of(request.param).read_text())):
        yield request.param


@pytest.fixture
def profile(spec):
    return read_profile(spec)


def golden(spec, kind):
    return (GOLDEN / f"{kind}_{spec.replace(':', '_')}.sh").read_text()


def told(spec):
    """What the file itself says."""
    return yaml.safe_load(file_of(spec).read_text())["xpcs_dask"]["profiles"][spec.partition(":")[2]]


def test_every_profile_is_tested():
    named = [f"{file.parent.name}:{name}" for file in DEPLOY.glob("*/xpcs_dask.yaml")
             for name in yaml.safe_load(file.read_text())["xpcs_dask"]["profiles"]]  # fmt: skip
    assert sorted(named) == sorted(NAMES)


def test_a_profile_is_taken_as_it_stands(spec, profile):
    for key, value in told(spec).items():
        if value is not None:
            found = getattr(profile, key.replace("-", "_"))
            assert (list(found) if isinstance(value, list) else found) == value, key


@pytest.mark.parametrize("name", ["slurm:site", "pbs:polaris"])
def test_the_first_profile_shows_every_setting_that_a_site_may_need(name):
    missing = {key.replace("_", "-") for key in Profile.model_fields} - told(name).keys()
    assert missing <= {"name", "tls", "failures", "launcher", "directives-skip"}


def test_a_mistake_names_the_file(tmp_path):
    wrong = tmp_path / "xpcs_dask.yaml"
    wrong.write_text(file_of("slurm:site").read_text().replace("queue-timeout", "queue-timout"))
    paths = dask.config.paths
    with dask.config.set(yaml.safe_load(wrong.read_text())):
        dask.config.paths = [*paths, str(tmp_path)]
        try:
            with pytest.raises(ConfigError, match=r"queue.timout.*queue.timeout.*xpcs_dask\.yaml"):
                read_profile("slurm:site")
        finally:
            dask.config.paths = paths


class TestWorkerJobs:
    """As dask-jobqueue renders them."""

    @pytest.fixture
    def lines(self, profile, tmp_path, monkeypatch):
        from xpcs_dask.cluster.job_script import worker_script

        monkeypatch.chdir(tmp_path)
        script = worker_script(profile, "tcp://10.0.0.1:8786", "xpcs-0").replace(str(tmp_path), "FOLDER")
        return script.strip().splitlines()

    def test_the_head_of_the_script(self, spec, lines):
        assert "\n".join(lines[:-1]) + "\n" == golden(spec, "worker")

    def test_the_command_of_the_workers(self, spec, profile, lines):
        python, module, *words = shlex.split(lines[-1].replace("-m ", "", 1))
        assert (python, module) == ("python", "distributed.cli.dask_worker")
        command = read(["dask", "worker", *words])
        assert command["scheduler"] == "tcp://10.0.0.1:8786"
        assert (int(command["n_workers"]), command["nthreads"]) == (profile.processes, 1)
        assert parse_bytes(command["memory_limit"]) == parse_bytes(told(spec)["memory"])
        assert command["interface"] == told(spec).get("interface")


class TestSubmit:
    """What ``xpcs-dask submit --dry-run`` prints."""

    def script(self, spec, folder, *words):
        from tests.conftest import carried

        data = str(carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"))
        submit = ["submit", data, "-o", "fits.zarr", "--profile", spec, "--dry-run", *words]
        command = [sys.executable, "-c", "from xpcs_dask.cli import main; main()", *submit]
        environment = os.environ | {"DASK_CONFIG": str(file_of(spec).parent)}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120, cwd=folder, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @pytest.mark.parametrize("mode", ["allocation", "workers"])
    def test_the_directives(self, spec, mode, tmp_path):
        script = self.script(spec, tmp_path, "--mode", mode).replace(str(tmp_path), "FOLDER")
        directives = re.findall(r"^#(?:SBATCH|PBS) .*$", script, re.M)
        assert "\n".join(directives) + "\n" == golden(spec, mode)
        assert len(set(directives)) == len(directives)
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=30)

    @pytest.mark.parametrize("mode", ["allocation", "workers"])
    def test_polaris_has_as_much_memory_as_is_asked_for(self, mode, tmp_path):
        [asked] = re.findall(r"mem=(\d+)MB", self.script("pbs:polaris", tmp_path, "--mode", mode))
        assert int(asked) < 490_000


def test_worker_jobs_leave_polaris_some_memory():
    with dask.config.set(yaml.safe_load(file_of("pbs:polaris").read_text())):
        assert read_profile("pbs:polaris").job_bytes < 490e9
