"""How a run went, from what its listeners heard."""

import json
from dataclasses import asdict

import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import carried
from tests.plots.figures import states
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.plots import style


def named(axes):
    return {line.get_gid(): line for line in axes.lines}


def test_curves_and_memory_are_those_that_were_heard():
    curves, memory = plots.run_history(states())
    done = named(curves)["done"]
    np.testing.assert_allclose(done.get_xdata(), [state.elapsed for state in states()])
    np.testing.assert_allclose(done.get_ydata(), [state.curves_done for state in states()])
    np.testing.assert_allclose(named(curves)["without a fit"].get_ydata()[-1], 175)
    np.testing.assert_allclose(named(memory)["in use"].get_ydata(), [state.memory / 1e6 for state in states()])
    assert (memory.get_xlabel(), memory.get_ylabel()) == ("time (s)", "memory (MB)")
    assert {"all (3,600)", "opening files"} <= set(texts(curves))


def test_json_lines_of_the_command_line_are_the_same(tmp_path):
    path = tmp_path / "progress.jsonl"
    lines = [json.dumps(asdict(state)) for state in states()]
    path.write_text("\n".join(["a warning", *lines, '{"other": 1}', "{broken"]))
    for given in (path, str(path), path.read_text().splitlines(), [asdict(state) for state in states()]):
        curves, _ = plots.run_history(given)
        np.testing.assert_allclose(named(curves)["done"].get_ydata(), [state.curves_done for state in states()])


def test_the_plan_and_the_limit_stand_above_what_was_there_at_the_start(tmp_path):
    heard = []
    manifest = xd.run(
        inputs=str(carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf")), output=tmp_path / "fits.zarr",
        memory="100GB", progress=heard.append,
    )  # fmt: skip
    _, memory = plots.run_history(heard, manifest)
    limit = (manifest.memory.start + 100e9) / 1e9
    np.testing.assert_allclose(named(memory)["limit"].get_ydata(), limit)
    np.testing.assert_allclose(
        named(memory)["planned"].get_ydata(), (manifest.memory.start + manifest.memory.planned) / 1e9
    )
    assert memory.get_ylabel() == "memory (GB)"
    assert memory.get_yscale() == "log"
    assert memory.get_ylim()[0] < heard[-1].memory / 1e9 < limit < memory.get_ylim()[1]
    _, again = plots.run_history(heard, tmp_path / "fits.zarr.manifest.json")
    assert set(named(again)) == set(named(memory))


def test_long_runs_are_in_minutes_and_hours():
    def ending(seconds):
        return plots.run_history([{"stage": "fitting", "elapsed": seconds, "curves_done": 1, "curves": 1}])[
            1
        ].get_xlabel()

    assert [ending(100), ending(1000), ending(10_000)] == ["time (s)", "time (min)", "time (h)"]


def test_without_a_state_there_is_nothing_to_draw():
    with pytest.raises(NoUsableInputError, match="take those of progress= or of --progress json"):
        plots.run_history([])
    with pytest.raises(ConfigError, match="two panels"):
        plots.run_history(states(), axes=style.one(None))
