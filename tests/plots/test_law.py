"""tau(q): what is drawn are the relaxation times, and the band is that of the law, beside draws and the table."""

import json

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.plots.figures import series, series_fits
from tests.plots.test_curve_figure import texts
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.physics.laws import LAWS
from xpcs_dask.plots.law_line import law_band, told

Q = np.geomspace(0.004, 0.02, 9)


def tau(law, q, first, second):
    """The laws, written down again."""
    return {
        "diffusion": lambda: 1 / (first * q**2),
        "ballistic": lambda: 1 / (first * q),
        "power": lambda: first * q**-second,
        "diffusion+constant": lambda: 1 / (first * q**2 + second),
        "diffusion+flow": lambda: 1 / (first * q**2 + second * q),
    }[law]()


@pytest.mark.parametrize("law", LAWS)
def test_the_band_is_the_spread_of_draws_from_the_parameters(law):
    found = xd.dispersion(series_fits().isel(file=[0]), law)
    settings = json.loads(found.attrs["dispersion"])
    own = found.isel(file=0)
    value, error = own["value"].values.copy(), own["stderr"].values.copy()
    ends = [0, 1] if law == "power" else [0, -1]
    if law in ("diffusion", "ballistic"):
        first, second = value[0] * np.exp(1e-3 * np.random.default_rng(0).normal(size=40_000)), 0.0
        own = own.assign(stderr=own["stderr"].copy(data=1e-3 * value))
        own["interval"].values[:, 1] = value * np.exp(2e-3)
    else:
        small = 1e-3
        error = error * small * np.array([1.0] * error.size)
        rho, (x, y) = float(own["correlation"]), np.random.default_rng(0).normal(size=(2, 40_000))
        y = rho * x + np.sqrt(1 - rho**2) * y
        first = value[ends[0]] + error[ends[0]] * x
        second = value[ends[1]] + error[ends[1]] * y
        own = own.assign(stderr=own["stderr"].copy(data=error))
        upper = value + 2 * error
        if law == "power":
            upper[0] = value[0] * np.exp(2 * error[0] / value[0])
        own["interval"].values[:, 1] = upper
    middle, low, high = law_band(own, settings, Q)
    np.testing.assert_allclose(middle, tau(law, Q, value[ends[0]], value[ends[1]]))
    draws = np.log([tau(law, q, first, second) for q in Q])
    np.testing.assert_allclose(np.log(high / middle), 2 * draws.std(axis=1), rtol=0.02)
    np.testing.assert_allclose(np.log(middle / low), 2 * draws.std(axis=1), rtol=0.02)


def test_the_band_of_diffusion_is_the_interval_of_its_coefficient():
    found = xd.dispersion(series_fits().isel(file=[0]))
    _, low, high = law_band(found.isel(file=0), json.loads(found.attrs["dispersion"]), Q)
    ends = found["interval"].isel(file=0).sel(parameter="D").values
    np.testing.assert_allclose(low, 1 / (ends[1] * Q**2), rtol=1e-9)
    np.testing.assert_allclose(high, 1 / (ends[0] * Q**2), rtol=1e-9)


def test_filled_points_are_those_that_the_law_takes():
    fits = series_fits().isel(file=[0])
    found = xd.dispersion(fits, q_range=(0.0, 0.02))
    axes = plots.tau_q(fits, found)
    lines = {line.get_gid(): line for line in axes.lines if line.get_gid()}
    used = found["excluded"].values[0] == 0
    assert 3 < used.sum() < 11
    np.testing.assert_allclose(lines["good"].get_xdata(), fits["q"].values[used])
    np.testing.assert_allclose(lines["good"].get_ydata(), fits["value"].sel(parameter="tau").values[0, used])
    np.testing.assert_allclose(lines["outside_q_range"].get_xdata(), fits["q"].values[fits["q"].values > 0.02])
    assert lines["slow"].get_fillstyle() == "none"
    assert {"outside q range", "slow", "95 % band"} <= set(texts(axes))
    x = max((line.get_xdata() for line in axes.lines), key=np.size)
    assert (x.min(), x.max()) == (
        pytest.approx(fits["q"].values[used].min()),
        pytest.approx(fits["q"].values[used].max()),
    )


def test_the_coefficient_stands_in_the_legend():
    axes = plots.tau_q(series_fits(), file=[0, 11])
    values = xd.dispersion(series_fits())["value"].sel(parameter="D_um2").values
    for name, value in zip(("run00000", "run00011"), values[[0, 11]], strict=True):
        (text,) = (text for text in texts(axes) if text.startswith(name))
        number = text.split("$D$ = ")[1].lstrip("(").split(" ±")[0]
        scale = 1e-3 if "-3" in text else 1.0
        assert float(number) * scale == pytest.approx(value, rel=0.02)


def test_groups_of_azimuth_have_a_law_each():
    data = xd.simulate.curves(1, q=np.tile(np.geomspace(0.004, 0.02, 6), 2), phi=np.repeat([0.0, 90.0], 6), counts=0.1)
    fits = xd.fit(data, "simple")
    axes = plots.tau_q(fits, xd.dispersion(fits, by="phi"))
    assert sum("$\\varphi$ = " in text for text in texts(axes)) == 2
    assert sum(np.size(line.get_xdata()) for line in axes.lines if line.get_gid() == "good") == 12
    assert not any("group" in text for text in texts(axes))


def test_too_few_bins_are_said():
    fits = series_fits().isel(file=[0])
    axes = plots.tau_q(fits, xd.dispersion(fits, "power", q_range=(0.02, 0.021)))
    assert any("no law" in text for text in texts(axes))
    assert not any("band" in text for text in texts(axes))


def test_what_cannot_be_drawn_is_refused():
    fits = series_fits()
    with pytest.raises(ConfigError, match="no record of its law"):
        plots.tau_q(fits, xd.dispersion(fits).drop_attrs())
    with pytest.raises(ConfigError, match="have no q, the wavevector"):
        plots.tau_q(fits.drop_vars("q"))
    with pytest.raises(ConfigError, match="found is of 'tau', the results have contrast, tau1"):
        plots.tau_q(xd.fit(series().isel(file=[0]), "double"), xd.dispersion(fits.isel(file=[0])))
    with pytest.raises(ConfigError, match="a DataTree with the groups"):
        plots.tau_q(xr.DataTree.from_dict({"/a": fits}))


def test_the_told_number_is_that_of_the_law():
    found = xd.dispersion(series_fits().isel(file=[0]), "power").isel(file=0)
    value = float(found["value"].sel(parameter="exponent"))
    assert float(told(found, "power").split(" = ")[1].split(" ±")[0]) == pytest.approx(value, abs=5e-3)


def test_a_rate_is_drawn_as_the_time_that_it_is():
    fits = series_fits().isel(file=[0]).load()
    names = ["rate" if name == "tau" else name for name in fits["parameter"].values.tolist()]
    k = names.index("rate")
    units = ["1/s" if name == "rate" else "1" for name in names]
    rate = fits.copy(deep=True).assign_coords(parameter=names).assign_coords(unit=("parameter", units))
    tau = fits["value"].values[..., k]
    rate["value"].values[..., k], rate["stderr"].values[..., k] = 1 / tau, fits["stderr"].values[..., k] / tau**2
    drawn = plots.tau_q(rate, xd.dispersion(rate, "ballistic", parameter="rate"))
    plain = plots.tau_q(fits, xd.dispersion(fits, "ballistic"))
    assert drawn.get_ylabel() == "1/rate (s)"
    assert len(drawn.lines) == len(plain.lines) > 1
    for mine, other in zip(drawn.lines, plain.lines, strict=True):
        np.testing.assert_allclose(mine.get_ydata(), other.get_ydata(), rtol=1e-9)
    assert any(text.startswith("$v$ = ") for text in texts(drawn))
