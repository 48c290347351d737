"""What a figure of g2 draws is what was measured, weighed and fitted; and it reads no more."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from tests.plots.figures import pixels, refits, series, series_fits, starved, starved_fits
from xpcs_dask import plots
from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.quality import PointFlag
from xpcs_dask.plots.points import REASONS


def bars(axes):
    """Delays, values and half lengths of the bars of every curve that was drawn."""
    found = []
    for container in axes.containers:
        line, _, (segments,) = container
        if line is None:  # quoted errors alone
            continue
        x, y = line.get_data()
        ends = np.array(segments.get_segments())[:, :, 1]
        found.append((x, y, np.ptp(ends, axis=1) / 2))
    return found


def by_reason(axes):
    """Delays of the hollow points, by what their group is called."""
    return {line.get_gid(): np.asarray(line.get_xdata()) for line in axes.lines if line.get_gid() in REASONS.values()}


def texts(axes):
    legends = [child for child in axes.get_children() if type(child).__name__ == "Legend"]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def test_points_and_bars_are_those_of_the_fit():
    axes, _ = plots.g2(series(), series_fits(), file=3, qbin=[2, 7])
    told = xd.quality(series().isel(file=[3]), errors="auto").sel(qbin=[2, 7])
    for k, (x, y, half) in enumerate(bars(axes)):
        used = np.isfinite(told["sigma"].values[0, k])
        np.testing.assert_array_equal(x, series()["delay"].values[used])
        np.testing.assert_allclose(y, series()["g2"].sel(qbin=[2, 7]).values[3, k][used])
        np.testing.assert_allclose(half, told["sigma"].values[0, k][used], rtol=1e-6)
    assert "σ (error model)" in texts(axes)


def test_bars_are_not_the_quoted_errors_unless_these_weighed():
    one = {"file": 0, "qbin": 1}
    quoted = series()["g2_err"].sel(qbin=1).isel(file=0).values
    ((_, _, half),) = bars(plots.g2(series(), series_fits(), **one)[0])
    assert np.abs(half / quoted[: half.size] - 1).max() > 0.1
    as_quoted = xd.fit(series(), "single", errors="quoted")
    axes = plots.g2(series(), as_quoted, **one)[0]
    ((x, _, half),) = bars(axes)
    np.testing.assert_allclose(half, quoted[np.isin(series()["delay"].values, x)], rtol=1e-5)
    assert "σ (as quoted)" in texts(axes)


def test_quoted_errors_stand_beside_those_of_the_fit():
    axes = plots.g2(series(), series_fits(), file=0, qbin=1, quoted=True)[0]
    (grey,) = (bar for line, _, (bar,) in axes.containers if line is None)
    segments = np.array(grey.get_segments())
    quoted = series()["g2_err"].sel(qbin=1).isel(file=0).values
    np.testing.assert_allclose(np.ptp(segments[:, :, 1], axis=1) / 2, quoted[quoted > 0], rtol=1e-4)
    assert "quoted σ" in texts(axes)


def test_equal_weights_have_bars_from_the_residuals():
    fits = xd.fit(series(), "single", errors="none")
    axes = plots.g2(series(), fits, file=0, qbin=1)[0]
    own = fits.isel(file=0).sel(qbin=1)
    ((_, _, half),) = bars(axes)
    np.testing.assert_allclose(half, np.sqrt(float(own["chi2"] / own["dof"])), rtol=1e-6)
    assert "σ (from the residuals)" in texts(axes)


def test_hollow_points_are_exactly_those_that_were_not_used():
    axes, _ = plots.g2(starved(), starved_fits())
    shown = np.unique(np.linspace(0, 11, 6).round().astype(int))
    bits = starved_fits()["quality"].values[0, shown]
    unused = (bits & PointFlag.NOT_USED) != 0
    drawn = sum(line.get_xdata().size for line in axes.lines if line.get_gid() in REASONS.values())
    assert drawn == unused.sum() > 20
    expected = {"outlier": PointFlag.OUTLIER, "missing": PointFlag.MISSING}
    for name, bit in expected.items():
        np.testing.assert_array_equal(by_reason(axes)[name], starved()["delay"].values[((bits & bit) != 0).any(axis=0)])
    filled = sum(x.size for x, _, _ in bars(axes))
    assert filled == (~unused).sum()


def test_the_legend_names_the_reasons_that_occur_and_no_other():
    axes, _ = plots.g2(starved(), starved_fits(), qbin=1)
    assert set(by_reason(axes)) == {"outlier", "missing", "few products"}
    assert set(texts(axes)) & set(REASONS.values()) == {"outlier", "missing", "few products"}
    assert all(line.get_fillstyle() == "none" for line in axes.lines if line.get_gid() in REASONS.values())


def test_points_outside_the_range_of_delays_are_hollow_too():
    fits = xd.fit(series(), "single", delay_range=(1e-4, 0.05))
    axes = plots.g2(series(), fits, file=0, qbin=1)[0]
    delay = series()["delay"].values
    outside = (delay < 1e-4) | (delay > 0.05)
    np.testing.assert_array_equal(by_reason(axes)["outside delay_range"], delay[outside])


def test_residuals_are_in_units_of_the_errors_of_the_fit():
    _, rest = plots.g2(series(), series_fits(), file=3, qbin=2)
    own, told = series().isel(file=[3]).sel(qbin=[2]), xd.quality(series().isel(file=[3])).sel(qbin=[2])
    contrast, tau, stretch, baseline = series_fits()["value"].isel(file=3).sel(qbin=2).values
    line = baseline + contrast * np.exp(-2 * (own["delay"].values / tau) ** stretch)
    expected = (own["g2"].values[0, 0] - line) / told["sigma"].values[0, 0]
    points = max(rest.lines, key=lambda line: np.size(line.get_xdata()))
    np.testing.assert_allclose(points.get_ydata(), expected[np.isfinite(expected)], rtol=1e-6)


def test_the_line_is_the_fit_and_dotted_where_nothing_was_used():
    fits = xd.fit(series(), "single", delay_range=(1e-4, 0.05))
    axes = plots.g2(series(), fits, file=0, qbin=1)[0]
    value = fits["value"].isel(file=0).sel(qbin=1).values
    lines = [line for line in axes.lines if line.get_xdata().size > 100]
    for line in lines:
        x = line.get_xdata()
        np.testing.assert_allclose(line.get_ydata(), value[3] + value[0] * np.exp(-2 * (x / value[1]) ** value[2]))
    (solid,) = (line for line in lines if line.get_linestyle() == "-")
    used = series()["delay"].values
    used = used[(used >= 1e-4) & (used <= 0.05)]
    assert solid.get_xdata().min() == pytest.approx(used.min())
    assert solid.get_xdata().max() == pytest.approx(used.max())
    assert {line.get_linestyle() for line in lines} == {"-", ":"}


def test_the_band_of_a_bootstrap_says_so():
    axes = plots.g2(pixels(), refits())[0]
    assert "95 % band (refits)" in texts(axes)
    assert "95 % band" in texts(plots.g2(series(), series_fits(), file=0)[0])


def test_results_without_a_covariance_have_no_band_and_say_so():
    core = xd.fit(series(), "single", detail="core")
    axes = plots.g2(series(), core, file=0)[0]
    assert "fit (single), no covariance for a band" in texts(axes)
    assert not any("% band" in text for text in texts(axes))
    assert "fit (single)" in texts(plots.g2(series(), core, file=0, band=False)[0])


def test_a_curve_without_a_fit_is_there_and_says_why():
    data = series().copy(deep=True)
    data["g2"][0, 0] = np.nan
    axes = plots.g2(data, xd.fit(data, "single"), file=0, qbin=[1, 2])[0]
    assert "0.003 (no data)" in texts(axes)
    assert sum(x.size for x in by_reason(axes).values()) >= data.sizes["delay"]
    assert by_reason(axes)["missing"].size > 40


def test_a_point_that_was_used_is_never_out_of_sight():
    data = series().copy(deep=True)
    data["g2"][0, 5, 1] = 5.0
    axes = plots.g2(data, xd.fit(data, "single"), file=0, qbin=[1, 6])[0]
    (beyond,) = (line for line in axes.lines if line.get_gid() == "beyond the axis" and line.get_marker() == "^")
    assert data["delay"].values[1] in beyond.get_xdata()
    assert axes.get_ylim()[1] < 4


def test_plain_arrays_and_functions_are_drawn_too():
    def decay(t, contrast, rate):
        return 1 + contrast * np.exp(-rate * t)

    delay = np.linspace(0.0, 1.0, 30)  # 0 too
    g2 = xr.DataArray(np.stack([decay(delay, 0.2, 5.0), decay(delay, 0.3, 9.0)]), {"delay": delay}, ("q", "delay"))
    fits = xd.fit(g2, decay, sigma=0.01)
    with pytest.raises(ConfigError, match="give model="):
        plots.g2(g2, fits, sigma=0.01, q=1)
    axes, _ = plots.g2(g2, fits, sigma=0.01, q=1, model=decay)
    ((x, y, half),) = bars(axes)
    assert x[0] == 0.0
    assert axes.get_xscale() == "symlog"
    np.testing.assert_allclose(y, g2.values[1])
    np.testing.assert_allclose(half, 0.01)


def counted(data, counter):
    """The data, one block a file, with every block that is read put down."""

    def put_down(block, block_info=None):
        counter.append(block_info[0]["chunk-location"][0])
        return block

    g2 = da.from_array(data["g2"].values, chunks=(1, -1, -1)).map_blocks(put_down, dtype=np.float32)
    return data.assign(g2=(data["g2"].dims, g2))


def test_one_block_of_a_thousand_is_read_for_one_curve():
    one = series().isel(file=[0])
    many = xr.concat([one] * 1000, "file").assign_coords(file=[f"run{k:04d}" for k in range(1000)])
    read = []
    data = counted(many, read)
    fits = xd.fit(data, "single")
    assert read == []
    plots.g2(data, fits, file="run0700", qbin=3)
    assert read == [700]
    read.clear()
    plots.parameter(fits, file=5)
    plots.tau_q(fits, file=5)
    plots.quality_map(fits, file=5)
    assert set(read) == {5}


def test_axes_of_the_user_are_drawn_on_and_keep_their_letters():
    from matplotlib.figure import Figure

    own = Figure(figsize=(8, 6))
    upper, lower = own.subplots(2, 1)
    before = upper.xaxis.label.get_fontsize()
    found = plots.g2(series(), series_fits(), file=0, axes=[upper, lower])
    assert list(found) == [upper, lower]
    assert upper.yaxis.label.get_fontsize() == before
    assert own.get_size_inches().tolist() == [8, 6]
    alone = plots.g2(series(), series_fits(), file=0, axes=Figure().subplots())
    assert alone.shape == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.g2(series(), series_fits()), r"12 entries along file; say which one: file='run00000"),
        (lambda: plots.g2(series(), series_fits(), file="run7"), r"file='run7' is not among those of the res"),
        (lambda: plots.g2(series(), series_fits(), file=12), r"12 of them, numbered from 0"),
        (lambda: plots.g2(series(), series_fits(), segment=1), r"no dimension 'segment'; there are file, qbin"),
        (lambda: plots.g2(series(), series_fits(), file=0, qbin=99), r"qbin=99 is not among"),
        (lambda: plots.g2(series(), starved_fits()), r"curve_id differ|file=.* is not among"),
        (lambda: plots.g2(series(), series_fits(), file=0, level=2), "level is 2; it must lie between 0 and 1"),
        (lambda: plots.g2(series(), series_fits(), file=0, axes="here"), "axes must be matplotlib Axes.*not str"),
        (lambda: plots.g2(xr.DataTree(), None), "a DataTree"),
        (
            lambda: plots.g2(starved(), xd.fit(starved(), "simple", robust="clip", detail="core")),
            "which points robust='clip' left out, only a fit with detail='full' tells",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


def test_delays_of_longer_files_are_no_points():
    data = series().isel(file=slice(0, 2)).copy(deep=True)
    data["g2"][0, :, 20:] = np.nan
    data["g2"][0, 5, 7] = np.nan
    axes = plots.g2(data, xd.fit(data, "single"), file=0, qbin=[6])[0]
    hollow = np.concatenate([line.get_xdata() for line in axes.lines if line.get_fillstyle() == "none"])
    assert data["delay"].values[7] in hollow
    assert hollow.max() <= data["delay"].values[19]
