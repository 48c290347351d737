"""The command that a report gives makes the same settings again."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

import xpcs_dask as xd
from xpcs_dask.cli import app
from xpcs_dask.config import BootstrapConfig, FitConfig, RunConfig
from xpcs_dask.jobs import read_config
from xpcs_dask.reporting.recipe import command, recipe, told
from xpcs_dask.reporting.source import opened

from .conftest import planted

PLAIN = RunConfig(inputs=("results/*.hdf",))
SAID = [
    PLAIN,
    RunConfig(inputs=("a b.hdf", "it's"), output="my fits.zarr", model="double", scheduler="processes:2", chunks=3),
    RunConfig(
        inputs=("r",),
        fit=FitConfig(
            bounds={"tau": (1e-6, 1e2)}, fixed={"baseline": 1.0}, loss="cauchy", loss_scale=2.385, search="thorough",
            errors="quoted", covariance="scaled", diagnostics="basic", interval="covariance", level=0.9,
            q_range=(0.003, 0.02), delay_range=(1e-5, float("inf")), detail="full",
        ),
    ),
    RunConfig(inputs=("r",), fit=FitConfig(robust="clip", weights="diagonal", detail="core"), cache=False),
    RunConfig(inputs=("r",), fit=FitConfig(weights="gls", detail="core"), memory="1GiB", include=("scan_number",)),
    RunConfig(inputs=("r",), entry="xpcs_1", delay_unit="us", q_unit="1/nm", cluster={"workers": 8}, scheduler="slurm"),
    RunConfig(
        inputs=("r",), fit=FitConfig(level=0.9, detail="core"),
        bootstrap=BootstrapConfig(resamples=499, seed=7, interval="bca", level=0.9, over="cluster"),
    ),
    RunConfig(inputs=("r",), bootstrap=BootstrapConfig()),
]  # fmt: skip
UNSAID = [
    RunConfig(inputs=("r",), fit=FitConfig(min_products=8, detail="core")),
    RunConfig(inputs=("r",), fit=FitConfig(absolute_sigma=False, detail="core")),
    RunConfig(inputs=("r",), bootstrap=BootstrapConfig(max_resamples=500)),
    RunConfig(inputs=("r",), bootstrap=BootstrapConfig(), fit=FitConfig(level=0.9, detail="core")),
    RunConfig(inputs=("r",), cluster={"extra": ("a", "b")}),
]


def plain(config):
    """Settings as they are compared: numbers of a cluster are texts on a command line."""
    found = config.model_dump(mode="json")
    return found | {"cluster": {name: str(value) for name, value in found["cluster"].items()}}


@pytest.mark.parametrize("config", SAID, ids=range(len(SAID)))
def test_the_command_makes_the_same_job(config, monkeypatch):
    jobs = []
    monkeypatch.setattr("xpcs_dask.cli.fit.carry_out", lambda job, **_: jobs.append(job))
    words = shlex.split(command(config))
    assert words[:2] == ["xpcs-dask", "fit"]
    ran = CliRunner().invoke(app, words[1:])
    assert ran.exit_code == 0, ran.output
    assert plain(jobs[0]) == plain(config)


@pytest.mark.parametrize("config", UNSAID, ids=range(len(UNSAID)))
def test_what_options_cannot_say_is_not_said_by_halves(config):
    assert command(config) == ""


@pytest.mark.parametrize("config", [*SAID, *UNSAID], ids=range(len(SAID) + len(UNSAID)))
def test_the_settings_file_makes_the_same_job(config, run, tmp_path):
    source = opened(run / "fits.zarr")
    made = recipe(
        type(source)(**{**vars(source), "manifest": source.manifest.model_copy(update={"config": config})}), []
    )
    (tmp_path / "run.yaml").write_text(made.yaml)
    assert read_config(tmp_path / "run.yaml").model_dump(mode="json") == config.model_dump(mode="json")


def test_only_what_is_not_the_default_is_said(run):
    source = opened(run / "fits.zarr")
    made = recipe(source, source.files())
    assert made.command == f"xpcs-dask fit {run}/results --output {run}/fits.zarr --model simple"
    assert set(yaml.safe_load(made.yaml)) == {"inputs", "output", "model"}


def test_lines_of_python_make_the_same_results(run, tmp_path):
    files = sorted((run / "results").glob("run*"))
    fits = xd.fit(xd.open_g2(files), "simple", q_range=(0.005, 0.02), errors="smoothed")
    xd.save(fits, tmp_path / "fits.zarr")
    source = opened(tmp_path / "fits.zarr")
    lines = recipe(source, source.files()).python
    names = {}
    exec(compile(lines, "lines", "exec"), names)
    xr.testing.assert_identical(names["fits"].compute(), fits.compute())


def test_curves_from_nowhere_have_no_recipe():
    source = opened(xd.fit(planted().isel(file=[0]), "simple"))
    made = recipe(source, source.files())
    assert (made.command, made.yaml, made.python) == ("", "", "")


def test_bounds_are_told_in_words():
    words = told({"bounds": json.dumps({"tau": [1e-6, None], "contrast": [0.0, 1.0]}), "versions": '{"numpy": "2"}'})
    assert words == {"bounds that were used": "tau 1 × 10⁻⁶ to ∞; contrast 0 to 1", "versions": "numpy 2"}
    assert np.isinf(FitConfig().bounds.get("tau", (0, np.inf))[1])
