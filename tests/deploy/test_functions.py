"""The functions for workflow systems, called as these call them: without anything else of their file, by value."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys

import dask
import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import carried
from tests.deploy.shipped import DEPLOY
from xpcs_dask.errors import ConfigError, NoUsableInputError, SchedulerError

FILES = [f"boost_corr/S0001_bright_a0000_f004096_r00001_{name}.hdf" for name in ("results", "avg4_results")]
SENT = """
import ast, json, sys
source, config = json.load(sys.stdin)
[function] = [node for node in ast.parse(source).body if getattr(node, "name", "") == "fit_files"]
names = {}
exec(compile(ast.Module([function], []), "sent", "exec"), names)
print(json.dumps(names["fit_files"](config)))
"""


def module(system):
    spec = importlib.util.spec_from_file_location(f"fit_files_{system}", DEPLOY / system / "fit_files.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(params=["globus", "prefect"])
def fit_files(request):
    return module(request.param).fit_files


@pytest.fixture
def config(tmp_path):
    return {
        "inputs": [str(carried(name)) for name in FILES],
        "output": str(tmp_path / "fits.zarr"),
        "scheduler": "sync",
    }


def test_files_are_fitted_and_the_answer_is_json(fit_files, config, tmp_path):
    told = fit_files(json.loads(json.dumps(config)))
    assert json.loads(json.dumps(told)) == told
    assert told["counts"]["files"] == 2
    assert told["counts"]["ok"] == told["counts"]["curves"] > 0
    assert told["output"] == config["output"]
    manifest = xd.Manifest.read(told["manifest"])
    assert (manifest.seconds, manifest.counts.curves) == (told["seconds"], told["counts"]["curves"])
    again = xd.run(config | {"output": str(tmp_path / "again.zarr")})
    assert again.counts == manifest.counts
    for mine, other in zip(*(list(values(config["output"])), list(values(again.output))), strict=True):
        np.testing.assert_array_equal(mine, other)


def values(path):
    found = xd.open_results(path)
    for node in found.subtree if hasattr(found, "subtree") else [found]:
        if "value" in node:
            yield node["value"].to_numpy()


def test_a_second_call_does_nothing(fit_files, config):
    assert fit_files(config) == fit_files(config)


def test_globus_sends_the_function_alone(config):
    """In a process that has no other name of the file."""
    source = (DEPLOY / "globus" / "fit_files.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", SENT],
        input=json.dumps([source, config]),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = json.loads(done.stdout)
    assert (told["result"], told["exit_code"], told["counts"]["failed"]) == ("SUCCEEDED", 0, 0)


@pytest.fixture
def soon():
    """Nobody is waited for at an address."""
    with dask.config.set({"xpcs_dask.running.timeout": 0.3}):
        yield


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"inputs": ["/nowhere/run7.hdf"]}, NoUsableInputError),
        ({"model": "triple"}, ConfigError),
        ({"modell": "single"}, ConfigError),
        ({"scheduler": "tcp://127.0.0.1:1"}, SchedulerError),
    ],
    ids=["files", "model", "key", "cluster"],
)
def test_an_error_is_an_answer_to_globus_and_a_failed_task_to_prefect(config, change, error, soon):
    told = module("globus").fit_files(config | change)
    assert (told["result"], told["exit_code"]) == ("FAILED", error.exit_code)
    assert json.loads(json.dumps(told)) == told
    assert "\n" not in told["error"]
    with pytest.raises(error) as caught:
        module("prefect").fit_files(config | change)
    assert " ".join(str(caught.value).split()) == told["error"]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    assert module("prefect").is_worth_another_try(caught.value) == (error is SchedulerError)


def test_a_fault_of_the_program_is_no_answer(config, monkeypatch):
    """Globus Compute and Prefect show the traceback of what nobody foresaw."""
    monkeypatch.setattr(xd, "run", lambda config: 1 / 0)
    for system in ("globus", "prefect"):
        with pytest.raises(ZeroDivisionError):
            module(system).fit_files(config)


def test_prefect_tries_again_only_what_a_cluster_lost():
    again = module("prefect").is_worth_another_try
    assert again(SchedulerError("the cluster is gone"))
    assert not again(ValueError("the program is wrong"))
    assert not again(KeyboardInterrupt())


def test_the_endpoint_is_one_that_globus_can_read():
    import yaml

    found = yaml.safe_load((DEPLOY / "globus" / "endpoint.yaml").read_text())
    provider = found["engine"]["provider"]
    assert (provider["type"], provider["queue"]) == ("PBSProProvider", "preemptable")
    assert provider["scheduler_options"].splitlines() == ["#PBS -l filesystems=home:grand:eagle", "#PBS -r y"]
    assert found["engine"]["address"] == {"type": "address_by_interface", "ifname": "bond0"}
    # The fit uses all cores of the node itself; a second worker there would share them.
    assert found["engine"]["max_workers_per_node"] == provider["nodes_per_block"] == 1
