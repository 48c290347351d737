from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.optimize
import xarray as xr
from dask.callbacks import Callback

import xpcs_dask as xd
from tests.conftest import CARRIED, carried
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.fitting.layout import Flag, Status
from xpcs_dask.physics.dispersion import dispersion
from xpcs_dask.physics.law_record import Note
from xpcs_dask.physics.laws import LAWS
from xpcs_dask.physics.used_bins import Lack

TRUTH = json.loads((CARRIED / "boost_corr" / "truth.json").read_text())
Q = np.geomspace(0.003, 0.03, 9)
D = 3.1e5


def results(tau, relative=0.05, q=Q, **coords):
    """Results of a fit with known relaxation times (..., bin)."""
    tau = np.asarray(tau, dtype=np.float64)
    dims = ("file", "qbin")[-tau.ndim :]
    stderr = tau * relative
    return xr.Dataset(
        {
            "value": ((*dims, "parameter"), np.stack([np.full_like(tau, 0.2), tau], axis=-1)),
            "stderr": ((*dims, "parameter"), np.stack([np.full_like(tau, 1e-3), stderr], axis=-1)),
            "flags": (dims, np.zeros(tau.shape, np.uint32)),
            "status": (dims, np.full(tau.shape, Status.CONVERGED, np.int8)),
        },
        {
            "parameter": ["contrast", "tau"],
            "unit": ("parameter", ["1", "s"]),
            "q": ("qbin", q, {"units": "1/angstrom"}),
            "qbin": np.arange(1, q.size + 1),
            **coords,
        },
        {"model": "simple"},
    )


def scattered(rng, tau, relative=0.05, files=1):
    return results(tau * np.exp(rng.normal(0, relative, (files, tau.size))), relative)


def of(found, name, what="value"):
    return found[what].sel(parameter=name).values


TRUE = {
    "diffusion": (1 / (D * Q**2), {"D": D, "D_um2": D * 1e-8}),
    "power": (2e-4 * Q**-2.37, {"amplitude": 2e-4, "exponent": 2.37}),
    "ballistic": (1 / (3.5e4 * Q), {"velocity": 3.5e4}),
    "diffusion+constant": (1 / (D * Q**2 + 17.0), {"D": D, "D_um2": D * 1e-8, "rate": 17.0}),
    "diffusion+flow": (1 / (D * Q**2 + 1.3e3 * Q), {"D": D, "D_um2": D * 1e-8, "velocity": 1.3e3}),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("q_err", [None, 0.03 * Q], ids=["exact", "wide"])
def test_noise_free_times_give_the_truth(law, q_err):
    tau, true = TRUE[law]
    found = dispersion(results(tau, np.linspace(0.03, 0.08, 9)), law, q_err=q_err)
    assert found["parameter"].values.tolist() == list(true)
    for name, value in true.items():
        assert of(found, name) == pytest.approx(value, rel=1e-9)
        low, high = found["interval"].sel(parameter=name).values
        assert low < value < high
    assert float(found["chi2"]) < 1e-16
    assert int(found["flags"]) == 0


def test_a_negative_constant_and_a_pure_constant_are_found():
    for rate in (-2.0, 300.0):
        found = dispersion(results(1 / (D * Q**2 + rate)), "diffusion+constant")
        assert of(found, "rate") == pytest.approx(rate, rel=1e-8)
        assert bool(int(found["flags"]) & Note.NEGATIVE_TERM) == (rate < 0)
    for tau in (0.01, 0.0088, 10.0):  # D of some is 0 to the last bit
        found = dispersion(results(np.full(9, tau)), "diffusion+constant")
        assert of(found, "rate") == pytest.approx(1 / tau, rel=1e-9)
        assert abs(of(found, "D")) < 1e-6 * D


def test_rates_are_fitted_like_the_times_that_they_make():
    """The rate q v of a flow: the same velocity and error as of 1 / rate; a rate of 0 is no bin."""
    rng = np.random.default_rng(4)
    rate = 2e3 * Q * np.exp(rng.normal(0, 0.05, (2, Q.size)))
    as_times = dispersion(results(1 / rate), "ballistic")
    given = results(rate).assign_coords(parameter=["contrast", "rate"], unit=("parameter", ["1", "1/s"]))
    given["value"][1, 3, 1] = 0.0
    found = dispersion(given, "ballistic", parameter="rate")
    np.testing.assert_allclose(of(found, "velocity")[0], of(as_times, "velocity")[0], rtol=1e-12)
    np.testing.assert_allclose(of(found, "velocity", "stderr")[0], of(as_times, "velocity", "stderr")[0], rtol=1e-12)
    assert of(found, "velocity") == pytest.approx(2e3, rel=0.1)
    assert found["n_used"].values.tolist() == [Q.size, Q.size - 1]


def test_a_power_law_is_that_of_polyfit():
    rng = np.random.default_rng(1)
    relative = rng.uniform(0.01, 0.2, 9)
    data = scattered(rng, 2e-4 * Q**-2.2, relative)
    tau = data["value"].sel(parameter="tau").values[0]
    found = dispersion(data, "power").isel(file=0)
    (slope, height), covariance = np.polyfit(np.log(Q), np.log(tau), 1, w=1 / relative, cov="unscaled")
    assert of(found, "exponent") == pytest.approx(-slope, rel=1e-12)
    assert of(found, "amplitude") == pytest.approx(np.exp(height), rel=1e-11)
    assert of(found, "exponent", "stderr_weights") == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-12)
    error = np.exp(height) * covariance[1, 1] ** 0.5
    assert of(found, "amplitude", "stderr_weights") == pytest.approx(error, rel=1e-9)
    correlation = -covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert float(found["correlation"]) == pytest.approx(correlation, rel=1e-9)
    assert float(found["chi2"]) == pytest.approx(np.sum(((np.log(tau) - slope * np.log(Q) - height) / relative) ** 2))
    assert float(found["test_statistic"]) == pytest.approx((-slope - 2) / of(found, "exponent", "stderr"))


@pytest.mark.parametrize("law", ["diffusion+constant", "diffusion+flow"])
def test_sums_of_powers_are_those_of_curve_fit(law):
    rng = np.random.default_rng(2)
    relative = rng.uniform(0.01, 0.1, 9)
    data = scattered(rng, TRUE[law][0], relative)
    tau = data["value"].sel(parameter="tau").values[0]
    power = 0 if law.endswith("constant") else 1

    def log_tau(q, diffusion, other):
        return -np.log(diffusion * D * q**2 + other * q**power * (1 if power == 0 else 1e3))

    best, covariance = scipy.optimize.curve_fit(
        log_tau, Q, np.log(tau), [1, 1], relative, absolute_sigma=True, ftol=1e-15, xtol=1e-15, gtol=1e-15
    )
    found = dispersion(data, law).isel(file=0)
    unit = 1 if power == 0 else 1e3
    assert of(found, "D") == pytest.approx(best[0] * D, rel=1e-7)
    assert found["value"].values[2] == pytest.approx(best[1] * unit, rel=1e-6)
    errors = np.sqrt(np.diag(covariance)) * [D, unit]
    np.testing.assert_allclose(found["stderr_weights"].values[[0, 2]], errors, rtol=1e-4)
    assert float(found["correlation"]) == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]), rel=1e-4
    )


def test_errors_of_q_are_those_of_orthogonal_regression():
    rng = np.random.default_rng(3)
    relative, wide = rng.uniform(0.02, 0.1, 9), rng.uniform(0.005, 0.05, 9)
    data = scattered(rng, TRUE["power"][0] * np.exp(rng.normal(0, 2.37 * wide)), relative)
    tau = data["value"].sel(parameter="tau").values[0]
    found = dispersion(data, "power", q_err=wide * Q).isel(file=0)
    x, y = np.log(Q) - np.log(0.01), np.log(tau)

    def distances(b):
        """To the line from points that may move along both axes: a, n and the true x of every bin."""
        return np.r_[(y - b[0] + b[1] * b[2:]) / relative, (x - b[2:]) / wide]

    best = scipy.optimize.least_squares(
        distances, np.r_[np.log(2e-4) - 2.37 * np.log(0.01), 2, x], xtol=1e-15, ftol=1e-15
    )
    covariance = np.linalg.inv(best.jac.T @ best.jac)[:2, :2]
    error, far = covariance[1, 1] ** 0.5, np.array([1, np.log(0.01)])
    log_amplitude = (far @ covariance @ far) ** 0.5
    assert of(found, "exponent") == pytest.approx(best.x[1], rel=1e-6)
    assert of(found, "amplitude") == pytest.approx(np.exp(best.x[0]) * 0.01 ** best.x[1], rel=1e-5)
    assert float(found["chi2"]) == pytest.approx(2 * best.cost, rel=1e-6)
    assert of(found, "exponent", "stderr_weights") == pytest.approx(error, rel=0.03)
    amplitude_error = of(found, "amplitude", "stderr_weights") / of(found, "amplitude")
    assert amplitude_error == pytest.approx(log_amplitude, rel=0.03)
    assert float(found["correlation"]) == pytest.approx(far @ covariance[:, 1] / log_amplitude / error, rel=1e-3)


@pytest.mark.parametrize("law", ["diffusion+constant", "diffusion+flow"])
def test_errors_of_q_are_at_the_minimum_of_the_effective_variance(law):
    rng = np.random.default_rng(4)
    data = scattered(rng, TRUE[law][0], 0.05)
    tau = data["value"].sel(parameter="tau").values[0]
    power = 0 if law.endswith("constant") else 1

    def chi2(b):
        rate = b[0] * D * Q**2 + b[1] * 1e3 * Q**power
        slope = -(2 * b[0] * D * Q**2 + power * b[1] * 1e3 * Q**power) / rate
        return np.sum((np.log(tau) + np.log(rate)) ** 2 / (0.05**2 + (slope * 0.04) ** 2))

    true = TRUE[law][1]
    best = scipy.optimize.minimize(
        chi2, [1, list(true.values())[2] / 1e3], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13}
    )
    found = dispersion(data, law, q_err=0.04 * data["q"]).isel(file=0)
    assert float(found["chi2"]) == pytest.approx(best.fun, rel=1e-9)
    assert of(found, "D") == pytest.approx(best.x[0] * D, rel=1e-5)


@pytest.mark.parametrize("q_err", [None, 0.03], ids=["exact", "wide"])
def test_intervals_cover(q_err):
    """2,000 files with errors as told: 95 % is nominal."""
    rng = np.random.default_rng(5)
    relative = np.geomspace(0.02, 0.3, 9)
    q = Q * np.exp(rng.normal(0, q_err or 0, (2000, 9)))
    data = results(1 / (D * q**2) * np.exp(rng.normal(0, relative, (2000, 9))), relative)
    for law, name, true in (
        ("diffusion", "D", D),
        ("power", "exponent", 2),
        ("power", "amplitude", 1 / D),
        ("diffusion+constant", "rate", 0),
        ("diffusion+flow", "velocity", 0),
    ):
        found = dispersion(data, law, q_err=None if q_err is None else q_err * Q)
        low, high = found["interval"].sel(parameter=name).values.T
        assert 0.94 < np.mean((low < true) & (true < high)) < 0.98
        if law == "power":
            assert 0.02 < np.mean(found["test_p"].values < 0.05) < 0.06


def test_intervals_cover_where_errors_are_told_too_small():
    rng = np.random.default_rng(6)
    data = results(1 / (D * Q**2) * np.exp(rng.normal(0, 0.3, (2000, 9))), 0.1)
    found = dispersion(data)
    low, high = found["interval"].sel(parameter="D").values.T
    assert 0.93 < np.mean((low < D) & (high > D)) < 0.97
    ratio = of(found, "D", "stderr") / of(found, "D", "stderr_weights")
    np.testing.assert_allclose(ratio, np.sqrt(np.maximum(1, found["chi2"] / found["dof"])), rtol=1e-12)
    assert np.mean(found["flags"].values == Note.LAW_DOUBTFUL) > 0.9


def test_the_intervals_of_simulated_files_cover():
    """1,000 files through the fit of their curves, whose errors are 5 to 10 % too large on these curves."""
    data = xd.simulate.curves(1000, np.linspace(0.006, 0.02, 8), model="simple", seed=7, diffusion=1e6)
    fits = xd.fit(data, "simple")
    for law, name, true, most in (("power", "exponent", 2.0, 0.98), ("diffusion", "D", 1e6, 0.99)):
        found = dispersion(fits, law)
        low, high = found["interval"].sel(parameter=name).values.T
        assert (found["n_used"] >= 6).all()
        assert 0.92 < np.mean((low < true) & (true < high)) < most


@pytest.mark.parametrize(
    ("name", "spread"),
    [
        ("S0001_bright_a0000_f004096_r00001_results.hdf", 0),
        ("S0001_bright_a0000_f004096_r00001_avg4_results.hdf", 0),
        ("S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf", 0),
        ("S0003_sparse_a0009_f008192_r00001_results.hdf", 0),
        ("S0002_qphi_a0000_f004096_r00001_results.hdf", 0.03),
    ],
)
def test_diffusion_of_the_producers_files(name, spread):
    """Within three standard errors, and these are 0.2 to 20 %; wide bins get 3 % of tau, 1.5 % of q."""
    fits = xd.fit(xd.open_g2(carried(f"boost_corr/{name}")), "simple").compute()
    found = dispersion(
        fits,
        exclude=[str(flag.name).lower() for flag in Flag if flag != Flag.POINTS_EXCLUDED],
        q_err=spread / 2 * fits["q"],
    ).isel(file=0)
    value, stderr, true = of(found, "D"), of(found, "D", "stderr"), TRUTH[name]["D"]
    assert int(found["n_used"]) >= 5
    assert abs(value - true) < 3 * stderr
    assert 0.002 < stderr / value < 0.2
    exponent = dispersion(fits, "power", q_err=spread / 2 * fits["q"]).isel(file=0)
    assert float(exponent["test_p"]) > 0.003


def test_every_reason_is_named_and_the_others_make_the_fit():
    tau = 1 / (D * Q**2)
    data = results(np.where(np.arange(9) < 6, 1e9, tau))
    data["flags"][:5] = [Flag.NO_SIGNAL, Flag.SLOW | Flag.POINTS_EXCLUDED, Flag.AT_BOUND | Flag.WEAK, 0, 0]
    data["status"][3] = Status.NOT_CONVERGED
    data["stderr"][4, 1] = np.nan
    data["q"] = data["q"].where(np.arange(9) != 5)
    found = dispersion(data, q_range=(0, 0.025))
    why = [Flag.NO_SIGNAL, Flag.SLOW, Flag.AT_BOUND | Flag.WEAK, Lack.FAILED, Lack.NO_ERROR, Lack.NO_Q, 0, 0]
    np.testing.assert_array_equal(found["excluded"], [*map(int, why), Lack.OUTSIDE_Q_RANGE])
    assert of(found, "D") == pytest.approx(D, rel=1e-9)
    assert int(found["n_used"]) == 2
    assert np.isnan(found["residual"].values[:6]).all()
    named = dict(
        zip(found["excluded"].attrs["flag_masks"], found["excluded"].attrs["flag_meanings"].split(), strict=True)
    )
    assert named[int(Lack.NO_Q)] == "no_q"
    assert named[int(Flag.SLOW)] == "slow"
    data["stderr"][6, 1] = 0.0
    assert int(dispersion(data)["excluded"][6]) == Lack.NO_ERROR
    data["stderr"][6, 1] = 0.1 * tau[6]
    kept = dispersion(data, exclude=["no_signal", "weak"], q_range=(0, 0.025))
    assert int(kept["n_used"]) == 3


def test_few_bins_are_said_in_flags():
    tau = 1 / (D * Q**2)

    def flags(bins, law, **settings):
        return Note(int(dispersion(results(tau[:bins], q=Q[:bins]), law, **settings)["flags"]))

    assert flags(1, "power") == Note.TOO_FEW_BINS
    assert Note.SCATTER_UNKNOWN in flags(2, "power")
    assert Note.FEW_BINS in flags(3, "power")
    assert Note.SCATTER_UNKNOWN in flags(1, "diffusion")
    assert flags(9, "power") == 0
    close = dispersion(results(1 / (D * np.linspace(0.01, 0.012, 9) ** 2), q=np.linspace(0.01, 0.012, 9)), "power")
    assert int(close["flags"]) & Note.NARROW_RANGE
    heavy = dispersion(results(tau, np.r_[0.001, np.full(8, 0.1)]))
    assert int(heavy["flags"]) == Note.ONE_BIN_DOMINATES
    vague = dispersion(results(tau, 9.0))
    assert int(vague["flags"]) & Note.UNDETERMINED
    alone = dispersion(results(tau[:1], 0.1, q=Q[:1]))
    assert of(alone, "D") == pytest.approx(D)
    assert of(alone, "D", "stderr") == pytest.approx(0.1 * D)
    assert np.isnan(float(alone["chi2_p"]))
    nothing = dispersion(results(np.full(9, np.nan)), "power")
    assert np.isnan(nothing["value"]).all()
    assert np.isnan(nothing["interval"]).all()


def test_groups_of_bins_have_laws_of_their_own():
    phi = np.array([0, 0, 0, 0, 90, 90, 90, 90, 90.0])
    tau = np.where(phi == 0, 1, 0.5) / (D * Q**2)
    found = dispersion(results(np.stack([tau, 2 * tau]), phi=("qbin", phi, {"units": "degree"})), by="phi")
    assert found["chi2"].sizes == {"phi": 2, "file": 2}
    np.testing.assert_allclose(of(found, "D"), [[D, D / 2], [2 * D, D]], rtol=1e-9)
    assert found["phi"].attrs["units"] == "degree"
    np.testing.assert_array_equal(found["excluded"].sel(phi=0, file=1) == Lack.OTHER_GROUP, phi == 90)
    np.testing.assert_array_equal(found["n_used"].isel(file=0), [4, 5])


@pytest.mark.parametrize("law", LAWS)
def test_lazy_results_stay_lazy_and_have_the_same_bits(law):
    data = scattered(np.random.default_rng(8), TRUE[law][0], 0.1, files=7)
    eager = dispersion(data, law, q_err=0.01 * Q)
    chunked = data.chunk(file=2, qbin=4).assign_coords(unit=data["unit"])
    ran = []
    with Callback(pretask=lambda *_: ran.append(1)):
        lazy = dispersion(chunked, law, q_err=0.01 * Q)
    assert not ran
    assert all(lazy[name].chunks is not None for name in lazy.data_vars)
    xr.testing.assert_identical(lazy.compute(), eager)
    one = dispersion(data.isel(file=[5]), law, q_err=0.01 * Q)
    xr.testing.assert_identical(one, eager.isel(file=[5]))


def test_other_dimensions_come_back_in_any_order():
    tau = np.array([1, 2, 3])[:, None] / (D * Q**2)
    data = results(tau)
    turned = data.transpose("parameter", "qbin", "file")
    np.testing.assert_allclose(of(dispersion(turned), "D"), D / np.array([1, 2, 3]), rtol=1e-9)
    single = dispersion(data.isel(file=1))
    assert single["chi2"].dims == ()
    assert of(single, "D") == pytest.approx(D / 2, rel=1e-9)


def test_errors_of_q_come_from_coordinates():
    data = scattered(np.random.default_rng(9), 1 / (D * Q**2))
    wide = data.assign_coords(q_width=("qbin", 0.1 * Q))
    told = data.assign_coords(q_err=("qbin", 0.1 * Q / 12**0.5))
    expected = dispersion(data, "power", q_err=0.1 * Q / 12**0.5)
    for other in (wide, told):
        np.testing.assert_allclose(dispersion(other, "power")["stderr"], expected["stderr"], rtol=1e-12)
    assert (
        of(expected, "exponent", "stderr_weights") > of(dispersion(data, "power"), "exponent", "stderr_weights")
    ).all()
    flat = dispersion(data, "power", q_err=1e-4)
    assert not np.array_equal(flat["value"], dispersion(data, "power")["value"])


def test_trees_go_group_by_group(tmp_path):
    data = results(1 / (D * Q**2))
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "/a": data, "/b": data})
    found = dispersion(tree)
    assert of(found["b"].to_dataset(), "D") == pytest.approx(D)
    with pytest.raises(NoUsableInputError, match="no group"):
        dispersion(xr.DataTree.from_dict({"/a": xr.Dataset()}))


def test_results_can_be_kept(tmp_path):
    found = dispersion(results(np.array([[1.0], [2.0]]) / (D * Q**2)), "power")
    found.to_netcdf(tmp_path / "n.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "n.nc", engine="h5netcdf") as back:
        xr.testing.assert_equal(back.load(), found)
    settings = json.loads(found.attrs["dispersion"])
    assert settings["law"] == "power"
    assert "slow" in settings["exclude"]
    assert found.attrs["model"] == "simple"
    assert found["unit"].values.tolist() == ["s angstrom^-exponent", "1"]


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda d: d, {"law": "flow"}, "'diffusion\\+flow'"),
        (lambda d: d, {"parameter": "tau1"}, "'tau1'; they have contrast, tau"),
        (lambda d: d, {"parameter": "contrast"}, "no relaxation time"),
        (lambda d: d, {"over": "bin"}, "no dimension 'bin'"),
        (lambda d: d, {"by": "phi"}, "no coordinate 'phi'"),
        (lambda d: d, {"exclude": ["slowly"]}, "no flag 'slowly'"),
        (lambda d: d, {"level": 95}, "level is 95"),
        (lambda d: d, {"q_err": np.ones(3)}, "shape \\(3,\\)"),
        (lambda d: d, {"q_err": -1.0}, "not negative"),
        (lambda d: d, {"q_range": (0.02, 0.01)}, "q_range"),
        (lambda d: d.drop_vars("q"), {}, "no coordinate q"),
        (lambda d: d.assign_coords(q=d.q.assign_attrs(units="1/nm")), {}, "units='1/nm'"),
        (lambda d: d.drop_vars("flags"), {}, "results of fit"),
    ],
)
def test_what_makes_no_sense_is_refused(change, settings, message):
    with pytest.raises(ConfigError, match=message):
        dispersion(change(results(1 / (D * Q**2))), **settings)
