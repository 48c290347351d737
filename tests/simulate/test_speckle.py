"""Experiments simulated from the frames: theory, known figures, identity."""

import numpy as np
import pytest
import xarray as xr

from xpcs_dask.errors import ConfigError
from xpcs_dask.simulate import noise
from xpcs_dask.simulate.curves import curves
from xpcs_dask.simulate.multitau import schedule
from xpcs_dask.simulate.speckle import speckle

TAU = 30
"""Relaxation time in frames of the experiments below (as in the study that the figures come from)."""
DIFFUSION = 1 / (0.01**2 * TAU * 1e-3)
LAGS = 36
"""Delays of the eight first levels."""


@pytest.fixture(scope="module")
def pixels():
    """Single pixels are independent experiments: 1,500 of each brightness, contrast 1/4, 4,096 frames."""
    settings = {"pixels": 1500, "counts": [[0.5, 0.15]], "diffusion": DIFFUSION, "clusters": True, "seed": 21}
    return speckle(1, [0.01, 0.01], normalization="pixel", **settings)


@pytest.mark.slow
def test_neighbouring_delays_are_correlated(pixels):
    """Median over delays 0.46 at 0.5 and 0.18 at 0.15 photon per pixel and frame (600 experiments)."""
    g2 = pixels.g2_cluster.values[0, :, :, :LAGS].astype(float)
    near = [[np.corrcoef(one[:, k], one[:, k + 1])[0, 1] for k in range(LAGS - 1)] for one in g2]
    np.testing.assert_allclose(np.median(near, axis=1), [0.46, 0.18], atol=0.05)


def test_noise_of_curves_is_that_of_frames(pixels):
    """What `curves` takes for noise, from theory for Gaussian intensities, against 1,500 pixels."""
    plan = schedule(4096)
    one, quarter, counts = np.ones(2), np.full(2, 0.25), np.array([0.5, 0.15])
    variance, correlation = noise.speckle(plan, quarter, TAU * one, one, counts)
    total = variance + pixels.true_g2.values[0] / noise.coincidences(plan, one, counts)
    g2 = pixels.g2_cluster.values[0, :, :, :LAGS].astype(float)
    np.testing.assert_allclose(g2.std(axis=1) / np.sqrt(total[:, :LAGS]), 1.0, atol=0.15)
    shared = correlation * np.sqrt(variance[:, 1:] * variance[:, :-1]) / np.sqrt(total[:, 1:] * total[:, :-1])
    near = [[np.corrcoef(g[:, k], g[:, k + 1])[0, 1] for k in range(LAGS - 1)] for g in g2]
    np.testing.assert_allclose(np.median(near, axis=1), np.median(shared[:, : LAGS - 1], axis=1), atol=0.1)


def test_curves_quote_the_errors_that_frames_give(pixels):
    same = {"pixels": 1500, "counts": [[0.5, 0.15]], "contrast": 0.25, "diffusion": DIFFUSION, "model": "simple"}
    data = curves(1, [0.01, 0.01], frames=4096, frame_time=1e-3, **same)
    ratio = data.g2_err.values[0, :, :LAGS] / pixels.g2_err.values[0, :, :LAGS]
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def channel_mean(plan, tau):
    """Exact mean of exp(-2 |t| / tau) over two channels of 2**level frames each."""
    out = []
    for delay, level in zip(plan.delay, plan.level, strict=True):
        frame = np.arange(2**level)
        out.append(np.exp(-2 * np.abs(delay + frame[:, None] - frame) / tau).mean())
    return np.array(out)


@pytest.mark.parametrize("modes", [1, 4])
def test_contrast_and_decay_follow_theory(modes):
    data = speckle(1, modes=modes, pixels=1200, counts=2.0, diffusion=DIFFUSION, clusters=True, seed=2)
    plan = schedule(4096)
    expected = 1 + channel_mean(plan, TAU) / modes
    early = plan.n_products >= 64
    error = data.g2_cluster[0, 0].std("cluster").values[early] / np.sqrt(1200)
    pull = (data.g2[0, 0].values - expected)[early] / error
    assert np.abs(pull).max() < 4.5
    assert abs(pull.mean()) < 2.5
    np.testing.assert_allclose(data.g2[0, 0, :3], 1 + np.exp(-2 * np.arange(1, 4) / TAU) / modes, rtol=0.02)
    assert data.true_value.sel(parameter="contrast").item() == 1 / modes


def test_quoted_error_is_the_scatter_over_pixels(pixels):
    single = pixels.g2_cluster.values[0].astype(float)
    np.testing.assert_allclose(pixels.g2_err.values[0], single.std(1, ddof=1) / np.sqrt(1500), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(pixels.g2.values[0], single.mean(1), rtol=1e-6)
    assert pixels.n_products.values[0, -1] == 1
    assert pixels.g2_err.values[0, 0, -1] == 0


def test_relaxation_time_follows_q():
    data = speckle(1, [0.005, 0.02], diffusion=1e5, pixels=200, counts=3.0, modes=1, seed=4)
    np.testing.assert_allclose(data.true_value.sel(parameter="tau")[0], [0.4, 0.025])
    seen = [np.interp(-np.exp(-1), -(curve - 1), data.delay) * 2 for curve in data.g2.values[0]]
    np.testing.assert_allclose(seen, [0.4, 0.025], rtol=0.2)


def test_starved_bins_count_like_poisson():
    counts, runs = 0.0086, 500
    data = speckle(runs, modes=1, pixels=64, frames=256, counts=counts, diffusion=1e8, seed=6)
    expected = 64 * counts**2 * (data.n_products * 4**data.level).values[0]
    none = (data.g2.values[:, 0] == 0).mean(axis=0)
    share = np.exp(-expected)
    assert 0.25 < share[0] < 0.35
    few = expected < 8
    assert np.abs((none - share)[few] / np.sqrt(share * (1 - share) / runs)[few]).max() < 4.5
    np.testing.assert_array_equal(data.g2.values == 0, data.g2_err.values == 0)


SMALL = {"frames": 256, "pixels": [5, 70, 9], "counts": 1.0, "seed": 3, "jitter": 0.1, "drift": 0.1}
Q3 = [0.01, 0.02, 0.03]


def test_any_part_alone_has_the_same_bits():
    whole = speckle(4, Q3, repeats=2, segments=2, clusters=True, **SMALL)
    part = speckle(2, Q3[1:2], repeats=2, segments=2, clusters=True, first_file=2, qbin=[2], **{**SMALL, "pixels": 70})
    same = whole.isel(file=[2, 3], qbin=[1])
    for name in ("g2", "g2_err", "g2_cluster", "g2_segment", "g2_segment_err", "true_value"):
        xr.testing.assert_identical(part[name].reset_coords(drop=True), same[name].reset_coords(drop=True))
    alone = speckle(4, Q3, **SMALL)
    np.testing.assert_array_equal(alone.g2, whole.g2.isel(repeat=0))
    assert not np.array_equal(whole.g2.isel(repeat=0), whole.g2.isel(repeat=1))


def test_what_is_asked_for_has_its_dimensions():
    data = speckle(2, Q3, repeats=3, segments=4, clusters=True, **SMALL)
    assert dict(data.g2.sizes) == {"file": 2, "repeat": 3, "qbin": 3, "delay": schedule(256).delay.size}
    assert data.g2_cluster.dims == ("file", "repeat", "qbin", "cluster", "delay")
    assert data.g2_segment.dims == ("file", "repeat", "segment", "qbin", "delay")
    assert data.g2_segment.sizes["segment"] == 4
    assert data.true_value.dims == ("file", "qbin", "parameter")
    assert data.curve_id.dims == ("file", "repeat", "qbin")
    assert np.unique(data.curve_id).size == 18
    assert np.isnan(data.g2_cluster[0, 0, 0, 5:]).all()
    assert np.isfinite(data.g2_cluster[0, 0, :, :5]).all()
    np.testing.assert_array_equal(data.n_pixels[0], [5, 70, 9])
    reached = schedule(64).delay.size
    assert np.isfinite(data.g2_segment[..., :reached]).all()
    assert np.isnan(data.g2_segment[..., reached:]).all()
    assert {"g2_cluster", "g2_segment"}.isdisjoint(speckle(1, Q3, **SMALL))


def test_segments_average_to_the_run_at_short_delays():
    data = speckle(1, pixels=40, counts=5.0, diffusion=1e8, segments=4, seed=9, normalization="pixel")
    whole, parts = data.g2[0, 0, 0].item(), data.g2_segment[0, :, 0, 0].values
    assert np.unique(parts).size == 4
    np.testing.assert_allclose(parts.mean(), whole, atol=5e-4)


def test_beam_drift_raises_the_baseline():
    """Linear drift d of the intensity: <I(t) I(t + small)> / <I>^2 = 1 + d^2 / 12."""
    data = speckle(1, pixels=300, counts=4.0, modes=8, diffusion=1e9, drift=0.8, clusters=True, seed=1)
    pull = (data.g2[0, 0, 0] - 1 - 0.8**2 / 12) / (data.g2_cluster[0, 0, :, 0].std() / np.sqrt(300))
    assert abs(pull) < 4


def test_normalisations_differ_by_the_bias_of_finite_runs():
    """Each pixel divided by its own mean lacks the slow part of its fluctuations: 1 - contrast tau / T."""
    both = [
        speckle(1, pixels=600, counts=2.0, diffusion=DIFFUSION, normalization=n, seed=8) for n in ("pooled", "pixel")
    ]
    pooled, pixel = (data.g2.values[0, 0, 24:36].mean() for data in both)
    assert abs(pooled - 1) < 1e-3
    np.testing.assert_allclose(1 - pixel, 0.25 * TAU / 4096, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modes": 0}, "modes is 0; it must be at least 1"),
        ({"repeats": 0}, "repeats is 0"),
        ({"segments": 0}, "segments is 0"),
        ({"segments": 4096}, "a run of 1 correlated frames"),
        ({"normalization": "none"}, "unknown normalization 'none'; known are pooled, pixel"),
        ({"jitter": -0.1}, "jitter -0.1 must not be negative"),
        ({"jitter_frames": 0.0}, "jitter_frames 0 above 0"),
        ({"n_files": 0}, "n_files is 0"),
        ({"pixels": [1, 2]}, r"pixels has shape \(2,\)"),
    ],
)
def test_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        speckle(**wrong)
