"""Simulated curves: what they claim about their own noise, truth and identity."""

import numpy as np
import pytest
import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.models import MODELS
from xpcs_dask.simulate.curves import curves

SOME = {"frames": 4096, "frame_time": 1e-3, "pixels": 64, "diffusion": 4e5}
Q = np.geomspace(0.003, 0.03, 4)


def test_any_part_alone_has_the_same_bits():
    whole = curves(5, Q, seed=11, **SOME)
    part = curves(2, Q[1:3], first_file=3, qbin=[2, 3], seed=11, **SOME)
    same = whole.isel(file=[3, 4], qbin=[1, 2])
    for name in ("g2", "g2_err", "true_value", "q", "qbin", "file", "rate"):
        xr.testing.assert_identical(part[name].reset_coords(drop=True), same[name].reset_coords(drop=True))
    xr.testing.assert_identical(curves(1, Q, first_file=3, seed=11, **SOME), whole.isel(file=[3]))
    assert not np.array_equal(curves(1, Q, seed=12, **SOME).g2, whole.g2[:1])


def test_shape_types_and_units():
    data = curves(2, Q, stride=2, average=3, **SOME)
    assert data.g2.dims == ("file", "qbin", "delay")
    assert data.g2.dtype == data.g2_err.dtype == np.float32
    assert set(data.frames.values) == {4096 // 6}
    np.testing.assert_allclose(data.delay[:3], 6e-3 * np.arange(1, 4))
    assert data.curve_id.dtype == np.uint64
    assert np.unique(data.curve_id).size == data.curve_id.size
    assert data.delay.attrs["units"] == "s"
    assert data.q.attrs["units"] == "1/angstrom"
    for name in data.variables:
        assert data[name].attrs or name in ("parameter",), name


@pytest.mark.parametrize("model", ["simple", "single", "double"])
def test_truth_is_the_model(model):
    data = curves(2, Q, model=model, stretch=0.8, contrast=[[0.1], [0.3]], fraction=0.3, ratio=20, **SOME)
    truth = data.true_value.to_series().unstack("parameter")
    tau = 1 / (4e5 * np.tile(Q, 2) ** 2)
    np.testing.assert_allclose(truth["tau1" if model == "double" else "tau"], tau)
    np.testing.assert_allclose(truth["contrast"], np.repeat([0.1, 0.3], 4))
    if model == "double":
        np.testing.assert_allclose(truth["tau2"], 20 * tau)
        np.testing.assert_allclose(truth["fraction"], 0.3)
    expected = MODELS[model].evaluate(data.delay.values, *data.true_value.values[1, 2])
    np.testing.assert_allclose(data.true_g2[1, 2], expected)


@pytest.fixture(scope="module")
def many():
    return curves(1500, [0.004, 0.02], counts=[[2.0, 0.1]], seed=4, **SOME)


def test_noise_is_centred_and_as_large_as_quoted(many):
    residual = (many.g2 - many.true_g2).values.astype(float)
    seen = residual.std(axis=0)
    pull = residual.mean(axis=0) / seen * np.sqrt(len(residual))
    assert np.abs(pull).max() < 4.5
    quoted = np.sqrt((many.g2_err.values.astype(float) ** 2).mean(axis=0))
    enough = many.n_products.values[0] >= 16
    np.testing.assert_allclose(quoted[:, enough] / seen[:, enough], 1.0, atol=0.1)


def test_quoted_errors_collapse(many):
    err, products = many.g2_err.values, many.n_products.values[0]
    seen = (many.g2 - many.true_g2).values.std(axis=0)
    assert products[-1] == 1
    assert (err[..., -1] == 0).all()
    assert (err[..., :-1] > 0).all()
    two = np.sqrt((err[:, 0].astype(float) ** 2).mean(axis=0) / seen[0] ** 2)[products == 2]
    np.testing.assert_allclose(two, np.sqrt(0.5), rtol=0.1)


def test_quoted_errors_have_their_own_scatter(many):
    ratio = many.g2_err.values[:, 1, 5].astype(float) ** 2
    spread = ratio.std() / ratio.mean()
    np.testing.assert_allclose(spread, np.sqrt(2 / 63), rtol=0.12)
    slow, fast = (np.corrcoef(many.g2_err.values[:, b, 12], many.g2_err.values[:, b, 13])[0, 1] for b in (0, 1))
    assert slow > 0.6
    assert abs(fast) < 0.2


def test_neighbours_are_correlated_where_speckle_noise_rules(many):
    residual = (many.g2 - many.true_g2).values.astype(float)
    near = [[np.corrcoef(residual[:, b, k], residual[:, b, k + 1])[0, 1] for k in range(10, 25)] for b in (0, 1)]
    assert np.median(near[0]) > 0.8
    assert abs(np.median(near[1])) < 0.3


@pytest.mark.parametrize("average", [1, 4])
def test_counting_noise_has_the_expected_size(average):
    data = curves(800, [0.03], counts=0.05, contrast=1e-3, seed=3, average=average, **SOME)
    seen = (data.g2 - data.true_g2).values.std(axis=0)[0]
    expected = 1 / np.sqrt(64 * (0.05 * average) ** 2 * data.n_products.values[0] * 4**data.level.values)
    np.testing.assert_allclose((seen / expected)[data.n_products.values[0] > 8], 1.0, atol=0.12)
    np.testing.assert_allclose(data.rate.values, 64 * (0.05 * average) ** 2)


def test_quoted_errors_of_dim_bins_collapse_less():
    """Seen at 0.01 photon: quoted / true is 0.55 where one product is left, 0.9 and more from four on."""
    data = curves(1000, [0.03], counts=0.01, contrast=1e-3, seed=3, **SOME)
    seen = (data.g2 - data.true_g2).values.std(axis=0)[0]
    ratio = np.sqrt((data.g2_err.values.astype(float) ** 2).mean(axis=0)[0]) / seen
    assert data.n_products.values[0, -1] == 1
    np.testing.assert_allclose(ratio[-1], 0.55, atol=0.05)
    np.testing.assert_allclose(ratio[data.n_products.values[0] >= 4], 0.95, atol=0.12)


def test_starved_bins_hold_whole_coincidences():
    data = curves(1000, [0.02], counts=2e-3, counting="poisson", seed=8, **SOME)
    expected = (data.rate * data.n_products * 4**data.level).values[:, 0, :]
    g2, err = data.g2.values[:, 0].astype(float), data.g2_err.values[:, 0]
    events = g2 * expected
    np.testing.assert_allclose(events, np.rint(events), atol=1e-3)
    none = g2 == 0
    assert ((err == 0) == none).all()
    share = np.exp(-expected[0] * data.true_g2.values[0, 0])
    assert 0.1 < share[0] < 0.9
    assert np.abs((none.mean(0) - share) / np.sqrt(share * (1 - share) / 1000 + 1e-5)).max() < 4.5
    pull = (g2 - data.true_g2.values[0]).mean(0) / (g2.std(0) / np.sqrt(1000))
    assert np.abs(pull).max() < 5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_files": 0}, "n_files is 0"),
        ({"model": "triple"}, "unknown model 'triple'; known models are simple, single, double"),
        ({"counting": "none"}, "unknown counting 'none'"),
        ({"contrast": np.ones(3)}, r"contrast has shape \(3,\); it must broadcast to \(file, qbin\) = \(1, 4\)"),
        ({"diffusion": 0.0}, "diffusion must be above 0"),
        ({"counts": -1.0}, "counts must be above 0"),
        ({"contrast": -0.1}, "contrast must be above 0"),
        ({"q": [0.0, 0.1]}, "q must be one-dimensional and above 0"),
        ({"qbin": [1, 2]}, "qbin has 2 labels for 4 values of q"),
        ({"stride": 0}, "stride 0 and average 1 must be at least 1"),
        ({"frames": 1}, "a run of 1 correlated frames"),
    ],
)
def test_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        curves(**{"q": Q, **SOME, **wrong})


def test_no_contrast_is_pure_noise():
    data = curves(3, Q, contrast=0.0, **SOME)
    assert np.isfinite(data.g2).all()
    assert (data.true_g2 == 1).all()
