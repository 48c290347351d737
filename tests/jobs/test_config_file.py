from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from xpcs_dask.config import FitConfig, RunConfig
from xpcs_dask.errors import ConfigError
from xpcs_dask.jobs.config_file import make_config, read_config

YAML = """
inputs: [results/*.hdf, more]
output: out/fits.zarr
model: double
fit:
  errors: quoted
  bounds: {tau1: [1.0e-6, .inf]}
bootstrap: {resamples: 200, seed: 7}
memory: 1GiB
"""
WANTED = RunConfig.make(
    inputs=("results/*.hdf", "more"),
    output="out/fits.zarr",
    model="double",
    fit=FitConfig(errors="quoted", bounds={"tau1": (1e-6, np.inf)}, detail="core"),
    bootstrap={"resamples": 200, "seed": 7},
    memory="1GiB",
)


@pytest.mark.parametrize("name", ["q_range", "delay_range"])
@pytest.mark.parametrize("ends", [(0.003, np.inf), (-np.inf, 0.02), (-np.inf, np.inf), (0.003, 0.02)])
def test_infinite_ends_survive_in_json_and_yaml(tmp_path, name, ends):
    import yaml

    wanted = RunConfig.make(inputs=("a",), fit={name: ends})
    as_yaml, as_json = tmp_path / "run.yaml", tmp_path / "run.json"
    as_yaml.write_text(yaml.safe_dump(wanted.model_dump(mode="json")))
    as_json.write_text(wanted.model_dump_json())
    assert getattr(read_config(as_yaml).fit, name) == getattr(read_config(as_json).fit, name) == ends
    assert read_config(as_json) == wanted


def test_yaml_json_and_keywords_say_the_same(tmp_path):
    as_yaml, as_json = tmp_path / "run.yaml", tmp_path / "run.json"
    as_yaml.write_text(YAML)
    as_json.write_text(WANTED.model_dump_json())
    assert read_config(as_yaml) == read_config(as_json) == make_config(WANTED) == WANTED
    assert make_config(as_yaml, model="single") == make_config(WANTED, model="single")
    assert make_config({"inputs": ["a"]}, output="b.zarr") == RunConfig(inputs=("a",), output="b.zarr")
    assert make_config(inputs=Path("a"), output=Path("b.zarr")) == RunConfig(inputs=("a",), output="b.zarr")


def test_little_is_kept_unless_more_is_asked_for():
    assert make_config(inputs="a").fit.detail == "core"
    assert make_config(inputs="a", fit={"loss": "huber"}).fit == FitConfig(loss="huber", detail="core")
    assert make_config(inputs="a", fit=FitConfig(detail="full")).fit.detail == "full"


def test_fits_are_cached_with_a_bootstrap_unless_told():
    assert not make_config(inputs="a").cached
    assert make_config(inputs="a", bootstrap={}).cached
    assert not make_config(inputs="a", bootstrap={}, cache=False).cached
    assert make_config(inputs="a", cache=True).cached


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: single", "inputs: Field required"),
        ("inputs: []", "inputs: Tuple should have at least 1 item"),
        ("inputs: a\nmodle: single", "modle: unknown setting; known are inputs, output, model"),
        ("inputs: a\nfit: {los: huber}", "fit.los: unknown setting; known are bounds, fixed, loss"),
        ("inputs: a\nbootstrap: {seeds: 1}", "bootstrap.seeds: unknown setting; known are resamples, over"),
        ("inputs: a\nfit: {loss: l2}", "fit.loss: Input should be"),
        ("inputs: a\nchunks: 0", "chunks"),
        ("- a", "holds no settings by name"),
        ("a: [", "is neither YAML nor JSON"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path, text, says):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")
    assert json.loads(json.dumps(RunConfig.model_json_schema()))["required"] == ["inputs"]
