"""``ds.xpcs``: the same as the functions, and a head that a person reads."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from xpcs_dask import simulate
from xpcs_dask.accessor import XpcsAccessor
from xpcs_dask.errors import ConfigError
from xpcs_dask.overview import overview, worst_first


@pytest.fixture(scope="module")
def curves():
    return simulate.curves(3, q=np.geomspace(0.003, 0.03, 4), seed=5)


@pytest.fixture(scope="module")
def fits(curves):
    return xd.fit(curves, "simple")


@pytest.mark.parametrize(
    ("verb", "arguments", "settings"),
    [
        ("fit", ("simple",), {"errors": "quoted"}),
        ("bootstrap", (), {"model": "simple", "resamples": 20, "seed": 3}),
        ("compare", (("simple", "single"),), {"folds": 0}),
        ("quality", (), {"errors": "quoted"}),
    ],
)
def test_verbs_on_curves_are_the_functions(curves, verb, arguments, settings):
    xr.testing.assert_identical(
        getattr(curves.xpcs, verb)(*arguments, **settings), getattr(xd, verb)(curves, *arguments, **settings)
    )


def test_verbs_on_results_are_the_functions(curves, fits, tmp_path):
    xr.testing.assert_identical(fits.xpcs.dispersion("power"), xd.dispersion(fits, "power"))
    xr.testing.assert_identical(curves.xpcs.average("file"), xd.average(curves, "file"))
    assert fits.xpcs.summary()["curves"] == 12
    fits.xpcs.save(tmp_path / "fits.zarr")
    assert xd.open_results(tmp_path / "fits.zarr")["value"].shape == fits["value"].shape
    lazy = curves.chunk(file=1)
    assert lazy.xpcs.plan("simple", memory="1GB").curves == xd.plan(lazy, "simple", memory="1GB").curves == 12
    assert lazy.xpcs.fit("simple")["value"].chunks is not None


def test_a_report_is_that_of_the_function(fits, tmp_path):
    page = fits.xpcs.report(tmp_path / "r.html", figures=False, title="Seen from here")
    assert page == tmp_path / "r.html"
    assert "Seen from here" in page.read_text()


def test_a_tree_has_the_verbs_too(curves, fits):
    tree = xr.DataTree.from_dict({"/a": curves, "/b": curves.isel(delay=slice(0, -1))})
    found = tree.xpcs.fit("simple")
    xr.testing.assert_identical(found["a"].to_dataset(inherit=False)["value"], fits["value"])
    title, rows = overview(found)
    assert title == "24 fitted curves"
    assert rows["groups"].startswith("2,")
    assert rows["files"].startswith("6,")
    assert rows["status"] == "converged 24"


def test_the_head_tells_ranges_ends_and_doubts(curves, fits):
    title, rows = overview(curves)
    assert title == f"12 curves (3 file × 4 qbin × {curves.sizes['delay']} delay)"
    assert rows["q"] == "0.003 to 0.03 1/angstrom"
    assert rows["delay"].endswith(" s")
    title, rows = overview(fits.assign(flags=fits["flags"] * 0 + int(xd.Flag.SLOW | xd.Flag.POINTS_EXCLUDED)))
    assert title == "12 fitted curves (3 file × 4 qbin)"
    assert rows["flags"] == "slow 12, points_excluded 12"
    assert rows["status"] == "converged 12"
    assert rows["model"] == "simple"
    assert overview(fits.assign(flags=fits["flags"] * 0))[1]["flags"] == "none"
    assert overview(xd.dispersion(fits))[0] == "3 fitted laws (3 file)"
    assert overview(xr.Dataset())[0] == "no curves and no results of fits"


def test_a_failed_curve_is_in_the_head(curves):
    bad = curves.assign(g2=curves["g2"].where(curves["file"] != curves["file"][1]))
    assert overview(xd.fit(bad, "simple"))[1]["status"] == "converged 8, no_data 4"


def test_the_head_computes_nothing(curves):
    def refuse(*_, **__):
        raise AssertionError("a head must not compute")

    import dask

    lazy = xd.fit(curves.chunk(file=1), "simple")
    with dask.config.set(scheduler=refuse):
        assert "not computed yet" in repr(lazy.xpcs)
        assert "not computed yet" in lazy.xpcs._repr_html_()


def test_doubts_that_spoil_a_number_come_first():
    found = worst_first({"points_excluded": 90, "slow": 2, "no_signal": 5, "starved": 0, "poor_fit": 7})
    assert found == [("no_signal", 5), ("slow", 2), ("points_excluded", 90), ("poor_fit", 7)]


def test_the_head_in_a_notebook_is_escaped(curves):
    named = curves.assign_coords(file=["<script>", "b", "c"])
    assert "<script>" not in named.xpcs._repr_html_()
    assert "&lt;script&gt; to c" in named.xpcs._repr_html_()


@pytest.mark.parametrize("verb", ["fit", "plan", "quality", "average", "bootstrap", "compare"])
def test_a_verb_says_what_it_needs(fits, verb):
    with pytest.raises(ConfigError, match=rf"{verb} takes curves \(a variable g2\).*these data have value, stderr"):
        getattr(fits.xpcs, verb)()


def test_laws_need_results(curves):
    with pytest.raises(ConfigError, match=r"dispersion takes results .* have g2"):
        curves.xpcs.dispersion()


def test_figures_are_those_of_plots(curves, fits):
    mine, other = fits.xpcs.plot.tau_q(file=0), xd.plots.tau_q(fits, file=0)
    assert [line.get_xydata().tolist() for line in mine.lines] == [line.get_xydata().tolist() for line in other.lines]
    assert fits.xpcs.plot(file=0).get_ylabel() == xd.plots.parameter(fits, file=0).get_ylabel()
    assert fits.xpcs.plot("contrast", file=0).get_ylabel() == xd.plots.parameter(fits, "contrast", file=0).get_ylabel()
    assert curves.xpcs.plot(fits, file=0).shape == (2,)
    assert {"g2", "tau_q", "parameter_map", "quality_map"} <= set(dir(fits.xpcs.plot))
    with pytest.raises(AttributeError, match=r"no figure pie; there are comparison, g2"):
        fits.xpcs.plot.pie()


def test_every_verb_tells_what_it_is():
    verbs = [name for name, _ in inspect.getmembers(XpcsAccessor, inspect.isfunction) if not name.startswith("_")]
    assert {"fit", "bootstrap", "plan", "average", "dispersion", "quality"} <= set(verbs)
    for name in verbs:
        assert "xpcs_dask" in (getattr(XpcsAccessor, name).__doc__ or ""), name


@pytest.mark.parametrize(
    "code",
    [
        "import xarray as xr, xpcs_dask; xr.Dataset().xpcs",
        "import xpcs_dask as xd; xd.fit; import xarray as xr; xr.Dataset().xpcs; xr.DataTree().xpcs",
        "import xpcs_dask.accessor; import xarray as xr; xr.Dataset().xpcs",
    ],
)
def test_it_is_there_however_the_package_is_imported(code):
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True)
