"""The verb `fit`: what it takes, what it refuses, and that building it runs nothing."""

from __future__ import annotations

import json
import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from conftest import carried
from engine.counting import TooManyComputes, computes_at_most
from engine.stack import stack
from scipy.optimize import curve_fit

import xpcs_dask as xd
from xpcs_dask import FitConfig, api
from xpcs_dask.errors import ConfigError, NoUsableInputError, UnknownParameterError
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.fitting.quality import PointFlag

DATA = stack(files=3, bins=4)


def values_of(fits):
    return {name: fits[name].values for name in fits.data_vars}


def test_finds_the_truth_within_its_errors():
    data = stack(files=40, bins=6)
    fits = xd.fit(data, errors="quoted")
    assert (fits["status"] == Status.CONVERGED).all()
    inside = ((fits["flags"] & Flag.UNIDENTIFIABLE) == 0) & ((fits["flags"] & Flag.AT_BOUND) == 0)
    pull = ((fits["value"] - data["truth"]) / fits["stderr"]).values[inside.values]
    assert inside.sum() > 200
    assert np.all((pull.std(axis=0) > 0.85) & (pull.std(axis=0) < 1.15))
    assert 0.9 < fits["reduced_chi2"].values.mean() < 1.1


def test_lazy_in_lazy_out_eager_in_eager_out():
    eager, lazy = xd.fit(DATA), xd.fit(DATA.chunk(file=1, qbin=3))
    for name, variable in lazy.data_vars.items():
        assert isinstance(variable.data, da.Array), name
        assert type(eager[name].data) is np.ndarray, name
        assert variable.dtype == eager[name].dtype
        assert variable.chunks[:2] == ((1, 1, 1), (3, 1)), name
    xr.testing.assert_identical(lazy.compute(scheduler="sync"), eager)


def test_building_runs_no_task():
    with computes_at_most(0), pytest.raises(TooManyComputes):
        xd.fit(DATA.chunk(file=1)).compute()
    with computes_at_most(0):
        xd.fit(DATA.chunk(file=1, delay=5), q_range=(0.004, 0.02), delay_range=(1e-3, 1.0))
        xd.quality(DATA.chunk(file=1))
        repr(xd.fit(DATA.chunk(file=1)))


def test_every_curve_is_fitted_once_for_all_variables(monkeypatch):
    calls = []

    def counting(g2, *args, **kwargs):
        calls.append(g2.shape)
        return fit_block(g2, *args, **kwargs)

    fit_block = api.fit_block
    monkeypatch.setattr(api, "fit_block", counting)
    xd.fit(DATA.chunk(file=1, qbin=2)).compute(scheduler="sync")
    assert calls == [(1, 2, 32)] * 6


def test_task_names_are_readable():
    packed = xd.fit(DATA.chunk(file=1))["value"].data
    assert any(name.startswith("fit-single-") for name in packed.dask.layers)


def test_curves_keep_their_dimensions_and_coordinates():
    fits = xd.fit(DATA)
    assert fits["value"].dims == ("file", "qbin", "parameter")
    for name in ("q", "phi", "qbin", "file", "curve_id", "content_hash"):
        xr.testing.assert_identical(fits[name], DATA[name].drop_vars(set(DATA[name].coords) - set(fits.coords)))
    assert "truth" not in fits


@pytest.mark.parametrize("order", [("delay", "qbin", "file"), ("qbin", "delay", "file")])
@pytest.mark.parametrize("chunks", [None, {"delay": 7, "qbin": 2}])
def test_delays_may_be_any_dimension(order, chunks):
    turned = DATA.transpose(*order, ...)
    turned = turned if chunks is None else turned.chunk(chunks)
    fits = xd.fit(turned).compute()
    assert fits["value"].dims == (*(dim for dim in order if dim != "delay"), "parameter")
    xr.testing.assert_identical(fits.transpose(*xd.fit(DATA).dims), xd.fit(DATA).transpose(*xd.fit(DATA).dims))


@pytest.mark.parametrize("dims", [("segment",), ("age", "segment"), ()])
def test_any_leading_dimensions(dims):
    one = DATA.isel(file=0, qbin=0)
    sizes = {dim: k + 2 for k, dim in enumerate(dims)}
    many = one[["g2", "g2_err"]].expand_dims(sizes).assign_coords(n_products=one["n_products"])
    for data in (many, many.chunk(dict.fromkeys(dims, 1) | {"delay": -1})):
        fits = xd.fit(data.drop_vars("curve_id")).compute()
        assert fits["chi2"].dims == dims
        assert (fits["value"] == xd.fit(one)["value"]).all()
        assert fits["curve_id"].values.reshape(-1).tolist() == list(range(fits["chi2"].size))
        assert fits["curve_id"].dtype == np.uint64


def test_float32_and_float64_are_the_same_numbers():
    wide = DATA.assign(g2=DATA["g2"].astype("f8"), g2_err=DATA["g2_err"].astype("f8"))
    xr.testing.assert_identical(xd.fit(wide), xd.fit(DATA))


def test_an_array_alone_weighs_all_points_the_same():
    g2 = DATA["g2"].isel(file=0).drop_vars("n_products")
    fits = xd.fit(g2, "simple")
    assert (fits.attrs["covariance_kind"], json.loads(fits.attrs["config"])["errors"]) == ("scaled", "none")
    model, x = xd.MODELS["simple"], g2["delay"].values
    for k in range(4):
        start = fits["value"].values[k] * 1.05
        best, covariance = curve_fit(model.evaluate, x, g2.values[k].astype(float), start, xtol=1e-12, ftol=1e-12)
        np.testing.assert_allclose(fits["value"][k], best, rtol=1e-4)
        np.testing.assert_allclose(fits["stderr"][k], np.sqrt(np.diag(covariance)), rtol=1e-2)


def test_errors_of_an_array():
    g2, err = DATA["g2"], DATA["g2_err"]
    expected = xd.fit(DATA, errors="quoted")
    for sigma in (err, err.values, err.transpose("delay", ...), err.chunk(file=1)):
        found = xd.fit(g2, sigma=sigma).compute()
        xr.testing.assert_identical(found, expected)
    shared = xd.fit(g2, sigma=err.values[0, 0])
    xr.testing.assert_equal(shared["value"][0, 0], expected["value"][0, 0])
    half, full = (xd.fit(g2, sigma=sigma) for sigma in (1e-3, 2e-3))
    np.testing.assert_allclose(half["chi2"], 4 * full["chi2"], rtol=1e-6)
    with pytest.raises(ValueError, match=r"align|index"):
        xd.fit(g2, sigma=err.assign_coords(qbin=[5, 6, 7, 8]))


def test_errors_that_are_missing_or_superfluous():
    without = DATA.drop_vars("g2_err")
    with pytest.raises(ConfigError, match="errors='none'"):
        xd.fit(without, errors="smoothed")
    with pytest.raises(ConfigError, match="errors='none'"):
        xd.fit(DATA["g2"], errors="quoted")
    with pytest.raises(ConfigError, match="g2_err"):
        xd.fit(DATA, sigma=1.0)
    assert (xd.fit(without, errors="none")["status"] == Status.CONVERGED).all()


def test_no_errors_means_scaled_covariance():
    attrs = xd.fit(DATA, errors="none").attrs
    assert (attrs["covariance_kind"], json.loads(attrs["config"])["absolute_sigma"]) == ("scaled", False)
    with pytest.raises(ConfigError, match="wald"):
        xd.fit(DATA, errors="none", covariance="wald")


@pytest.mark.parametrize("lazy", [False, True])
def test_settings_are_refused_before_any_task(lazy):
    data = DATA.chunk(file=1) if lazy else DATA
    with computes_at_most(0):
        with pytest.raises(UnknownParameterError, match=r"no parameter 'gamma'; it has contrast, tau"):
            xd.fit(data, bounds={"gamma": (0, 1)})
        with pytest.raises(UnknownParameterError, match="'rate'"):
            xd.fit(data, fixed={"rate": 1.0})
        with pytest.raises(ConfigError, match="'tau' are crossed"):
            xd.fit(data, bounds={"tau": (1.0, 1e-3)})
        with pytest.raises(ConfigError, match="unknown model 'triple'"):
            xd.fit(data, "triple")
        with pytest.raises(ConfigError, match="losss: unknown setting"):
            xd.fit(data, losss="huber")


def test_config_and_settings_add_up():
    config = FitConfig(fixed={"baseline": 1.0}, loss="huber")
    fits = xd.fit(DATA, config=config, loss="linear")
    xr.testing.assert_identical(fits, xd.fit(DATA, fixed={"baseline": 1.0}, loss="linear"))
    assert (fits["value"].sel(parameter="baseline") == 1.0).all()
    assert (fits["stderr"].sel(parameter="baseline") == 0.0).all()


def test_default_bounds_come_from_the_delays_not_from_blocks():
    data = DATA.copy(deep=True)
    data["g2"][0, :, :10] = np.nan
    bounds = json.loads(xd.fit(data).attrs["bounds"])["tau"]
    np.testing.assert_allclose(bounds, [1e-5, 100.0])


@pytest.mark.parametrize("chunks", [None, {"file": 1, "qbin": 1}])
def test_ranges_select_before_the_fit(chunks):
    data = DATA if chunks is None else DATA.chunk(chunks)
    q, delay = DATA["q"].values, DATA["delay"].values
    fits = xd.fit(data, q_range=(q[1], q[2]), delay_range=(delay[3], delay[-4])).compute()
    chosen = DATA.isel(qbin=slice(1, 3), delay=slice(3, -3))
    assert values_of(fits).keys() == values_of(xd.fit(chosen)).keys()
    for name, value in values_of(xd.fit(chosen)).items():
        np.testing.assert_array_equal(fits[name].values, value, err_msg=name)
    assert fits["qbin"].values.tolist() == [2, 3]
    assert fits["curve_id"].values.tolist() == chosen["curve_id"].values.tolist()


def test_scattered_bins_are_selected_too():
    data = DATA.assign_coords(q=("qbin", [0.01, 0.5, 0.02, 0.6]))
    assert xd.fit(data, q_range=(0.0, 0.1))["qbin"].values.tolist() == [1, 3]


def test_rows_are_numbered_before_bins_are_left_out():
    plain = DATA.drop_vars("curve_id")
    fits = xd.fit(plain, q_range=(float(DATA["q"][1]), 1.0))
    assert fits["curve_id"].values.tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]


@pytest.mark.parametrize("chunks", [None, {"file": 1}])
def test_the_number_of_a_curve_does_not_depend_on_the_order_of_dimensions(chunks):
    plain = DATA.drop_vars("curve_id")
    plain = plain if chunks is None else plain.chunk(chunks)
    fits = xd.fit(plain)
    for order in (("qbin", "file", "delay"), ("qbin", "delay", "file"), ("delay", "file", "qbin")):
        turned = xd.fit(plain.transpose(*order, ...))
        xr.testing.assert_identical(turned["curve_id"].transpose("file", "qbin"), fits["curve_id"])
    assert fits["curve_id"].values.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    array = xd.fit(plain["g2"].transpose("qbin", ...), "simple")
    xr.testing.assert_identical(array["curve_id"].transpose("file", "qbin"), fits["curve_id"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q_range": (1.0, 2.0)}, r"no q of the data is in q_range \[1, 2\] 1/angstrom; it ranges from 0.003 to 0.03"),
        ({"delay_range": (100, 200)}, r"no delay .* \[100, 200\] s; it ranges from 0.0001 to 10"),
    ],
)
def test_empty_ranges_say_what_there_is(settings, message):
    for data in (DATA, DATA.chunk(file=1)):
        with pytest.raises(NoUsableInputError, match=message) as caught:
            xd.fit(data, **settings)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


def test_nothing_to_fit_is_refused():
    for empty in (DATA.isel(qbin=slice(0, 0)), DATA.isel(delay=slice(0, 0))):
        with pytest.raises(NoUsableInputError, match=": 0"):
            xd.fit(empty)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (DATA.rename(g2="G2"), "no variable g2"),
        (DATA.drop_vars("delay"), "coordinate 'delay'"),
        (DATA.rename(delay="lag"), "coordinate 'delay'"),
        (DATA.assign_coords(delay=DATA["delay"].assign_attrs(units="ms")), "units='ms'"),
        (DATA.assign_coords(n_products=("other", [1.0])), "n_products has dimensions"),
        (DATA["g2"].values, "not ndarray"),
    ],
    ids=["no g2", "no delay", "other name", "unit", "dimension", "type"],
)
def test_data_of_another_shape_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        xd.fit(wrong)


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "is nan"), (-1e-3, "is -0.001"), (np.inf, "is inf"), (-np.inf, "is -inf")]
)
def test_delays_that_are_none_are_named(value, says):
    delay = DATA["delay"].values.copy()
    delay[5] = value
    wrong = DATA.assign_coords(delay=("delay", delay))
    for verb in (xd.fit, xd.quality):
        with pytest.raises(ConfigError, match=rf"delay\[5\] {says}"):
            verb(wrong)
    with pytest.raises(ConfigError, match=r"delay\[5\]"):
        xd.fit(wrong, delay_range=(0.0, 1e-4))


def test_delays_in_time_units_are_refused():
    wrong = DATA.assign_coords(delay=(DATA["delay"].values * 1e9).astype("m8[ns]"))
    with pytest.raises(ConfigError, match=r"timedelta64\[ns\]"):
        xd.fit(wrong)


def test_a_delay_of_zero_is_allowed():
    from_zero = DATA.assign_coords(delay=DATA["delay"].values - DATA["delay"].values[0])
    assert (xd.fit(from_zero, "simple")["status"] == Status.CONVERGED).any()


def test_ranges_need_their_coordinate():
    with pytest.raises(ConfigError, match="q_range was given"):
        xd.fit(DATA.drop_vars("q"), q_range=(0, 1))


def test_quality_tells_why_points_are_not_used():
    data = DATA.copy(deep=True)
    data["g2"][0, 0, 0], data["g2_err"][0, 0, 1] = np.nan, 0.0
    points = xd.quality(data, errors="quoted")
    flags = points["quality"]
    assert (flags.dims, flags.dtype) == (("file", "qbin", "delay"), np.uint8)
    unused = PointFlag.NOT_USED
    assert flags[0, 0, :2].values.tolist() == [PointFlag.MISSING | unused, PointFlag.ZERO_ERROR | unused]
    few = (DATA["n_products"] < 4).values[:, None]
    assert ((flags.values & PointFlag.FEW_PRODUCTS != 0) == few).all()
    lazy = xd.quality(data.chunk(file=1), errors="quoted")
    assert isinstance(lazy["quality"].data, da.Array)
    fits = xd.fit(data, errors="quoted")
    xr.testing.assert_identical(lazy.compute(), points)
    xr.testing.assert_identical(fits["quality"], flags)
    assert ((flags == 0).sum("delay") == fits["n_used"]).all()
    np.testing.assert_allclose(points["sigma"], data["g2_err"].where(flags == 0), rtol=1e-15)
    everything = xd.quality(data, min_products=1, errors="quoted")["quality"]
    assert (everything[1] == 0).all()


def test_core_detail_is_core():
    fits = xd.fit(DATA, detail="core")
    assert list(fits.data_vars) == [
        "value", "stderr", "chi2", "dof", "n_used", "evaluations", "flags", "status", "rung", "errors_from",
        "errors_dof",
    ]  # fmt: skip
    assert "delay" not in fits.coords


def _line(x, offset, slope):
    return offset - slope * np.log(x)


def test_any_function_is_a_model():
    lazy = xd.fit(DATA.chunk(file=1), _line, detail="core", errors="quoted").compute()
    xr.testing.assert_identical(lazy, xd.fit(DATA, _line, detail="core", errors="quoted"))
    assert lazy["parameter"].values.tolist() == ["offset", "slope"]
    x, use = np.log(DATA["delay"].values), DATA["n_products"].values[0] >= 4
    slope, offset = np.polyfit(x[use], DATA["g2"].values[0, 0][use], 1, w=1 / DATA["g2_err"].values[0, 0][use])
    np.testing.assert_allclose(lazy["value"][0, 0], [offset, -slope], rtol=1e-6)


def _one_short(x, offset, slope):
    return (offset - slope * np.log(x))[1:]


def _number(x, offset):
    return offset


def _column(x, offset):
    return offset + x[:, None]


@pytest.mark.parametrize(
    ("model", "shape"),
    [(_one_short, r"\(31,\)"), (_number, r"\(\)"), (_column, r"\(32, 1\)")],
    ids=["short", "0-d", "2-d"],
)
@pytest.mark.parametrize("chunks", [None, {"file": 1}])
def test_a_function_of_another_shape_is_refused_before_any_task(model, shape, chunks):
    data = DATA if chunks is None else DATA.chunk(chunks)
    with computes_at_most(0), pytest.raises(ConfigError, match=rf"returned shape {shape}.*\(32,\)"):
        xd.fit(data, model)


def test_groups_are_fitted_one_by_one():
    tree = xr.DataTree.from_dict({"group_0": DATA, "group_1": DATA.isel(file=[1]).chunk(), "note": xr.Dataset()})
    fits = xd.fit(tree, "simple", fixed={"baseline": 1.0})
    assert [node.path for node in fits.leaves] == ["/group_0", "/group_1"]
    expected = xd.fit(DATA, "simple", fixed={"baseline": 1.0})
    xr.testing.assert_identical(fits["group_0"].to_dataset(), expected)
    xr.testing.assert_identical(fits["group_1"].to_dataset().compute(), expected.isel(file=[1]))
    flags = xd.quality(tree)
    xr.testing.assert_identical(flags["group_0"].to_dataset(), xd.quality(DATA))


def test_groups_with_nothing_left(caplog):
    far = DATA.assign_coords(q=DATA["q"] * 100)
    fits = xd.fit(xr.DataTree.from_dict({"near": DATA, "far": far}), q_range=(0.0, 0.1))
    assert list(fits.children) == ["near"]
    assert "group /far is left out: no q of the data is in q_range" in caplog.text
    with pytest.raises(NoUsableInputError, match=r"/far: no q .*"):
        xd.fit(xr.DataTree.from_dict({"far": far}), q_range=(0.0, 0.1))
    with pytest.raises(NoUsableInputError, match="no group"):
        xd.fit(xr.DataTree())


def test_opened_files_fit_and_carry_their_identity(tmp_path):
    opened = xd.open_g2(carried("boost_corr/S0001_bright_a0000_f004096_r00001_results.hdf"))
    with computes_at_most(0):
        fits = xd.fit(opened, "simple")
    found = fits.compute()
    assert (found["status"] == Status.CONVERGED).all()
    assert found["curve_id"].equals(opened["curve_id"])
    with computes_at_most(0):
        rechunked = xd.fit(opened.chunk(qbin=5), "simple", q_range=(0.0, 1.0))
    xr.testing.assert_equal(rechunked.compute(), found)
    again = xd.open_results(xd.save(rechunked, tmp_path / "fits.zarr"))
    xr.testing.assert_equal(again.compute(), found)
    assert {"size", "content_hash", "path", "start_time"} <= set(found.coords)
    assert found.attrs["source_format"] == "aps_nexus"
