"""What is drawn: read back from matplotlib."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.conftest import carried
from xpcs_dask.errors import ConfigError
from xpcs_dask.toolkit.g2_plot import COLORS, pg_plot
from xpcs_dask.toolkit.models import single_exp_all
from xpcs_dask.toolkit.xpcs_file import XpcsFile

BRIGHT = "S0001_bright_a0000_f004096_r00001_results.hdf"
STRIDE = "S0001_bright_a0000_f004096_r00001_stride2avg2_results.hdf"
TWO_TIME = "S0005_twotime_a0000_f000200_r00001_twotime_results.hdf"
BOUNDS = ([0, 1e-6, 0.3, 0.9], [1, 100, 3, 1.1])
FOUR = (0.0018, 0.003)


def boost(name):
    return XpcsFile(carried(f"boost_corr/{name}"))


def points(ax, number=0):
    """Delays, g2 and half the bar of each point of a curve."""
    container = ax.containers[number]
    line, _, (bars,) = container.lines
    half = [(segment[1, 1] - segment[0, 1]) / 2 for segment in bars.get_segments()]
    return line.get_xdata(), line.get_ydata(), np.array(half)


def lines(ax):
    """Fitted lines: those with a line style."""
    return [line for line in ax.lines if line.get_linestyle() == "-"]


def test_one_panel_a_bin_with_points_and_bars():
    files = [boost(BRIGHT), boost(STRIDE)]
    figure = pg_plot(Figure(), files, FOUR, (0.002, 1), (0.9, 1.4), num_col=3)
    assert len(figure.axes) == 4
    for m, xf in enumerate(files):
        q, t_el, g2, errors, labels = xf.get_g2_data(FOUR, (0.002, 1))
        assert q.size == 4
        for n, ax in enumerate(figure.axes):
            delay, value, half = points(ax, m)
            assert np.array_equal(delay, t_el)
            assert np.allclose(value, g2[:, n])
            assert np.allclose(half, errors[:, n], rtol=1e-5)
            assert ax.get_title() == labels[n]
            assert ax.containers[m].lines[0].get_color() == COLORS[m]
    for ax in figure.axes:
        assert ax.get_xscale() == "log"
        assert ax.get_ylim() == (0.9, 1.4)
        assert ax.get_xlim() == (0.002, 1)
        assert ax.get_legend() is None
        assert not lines(ax)


def test_axes_are_named_once_and_with_units():
    axes = pg_plot(Figure(), [boost(BRIGHT)], FOUR, None, None, num_col=3).axes
    assert [ax.get_ylabel() for ax in axes] == ["g2", "", "", "g2"]
    assert [ax.get_xlabel() for ax in axes] == ["", "delay (s)", "delay (s)", "delay (s)"]


def test_auto_does_not_heed_ranges():
    figure = pg_plot(Figure(), [boost(BRIGHT)], FOUR, (0.002, 1), (5, 6), y_auto=True, q_auto=True, t_auto=True)
    assert len(figure.axes) == 12
    assert points(figure.axes[0])[0].size == 43
    assert figure.axes[0].get_ylim()[1] < 2


def test_one_panel_a_file():
    files = [boost(BRIGHT), boost(STRIDE)]
    figure = pg_plot(Figure(), files, FOUR, None, None, plot_type="single", show_label=True)
    assert [ax.get_title() for ax in figure.axes] == [xf.label for xf in files]
    assert [len(ax.containers) for ax in figure.axes] == [4, 4]
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == files[0].get_g2_data(FOUR)[4]
    colors = {container.lines[0].get_color() for container in figure.axes[0].containers}
    assert len(colors) == 4


def test_all_in_one():
    files = [boost(BRIGHT), boost(STRIDE)]
    figure = pg_plot(Figure(), files, FOUR, None, None, plot_type="single-combined", show_label=True, offset=0.5)
    (ax,) = figure.axes
    assert len(ax.containers) == 8
    assert np.allclose(points(ax, 4)[1], files[1].get_g2_data(FOUR)[2][:, 0] + 0.5)
    assert ax.get_legend().get_texts()[4].get_text().startswith(f"{files[1].label} qbin=5, q=")


def test_a_long_legend_is_thinned_out():
    figure = pg_plot(Figure(), [boost(BRIGHT)] * 2, None, None, None, plot_type="single-combined", show_label=True)
    assert len(figure.axes[0].get_legend().get_texts()) == 12
    assert len({str(container.lines[0].get_color()) for container in figure.axes[0].containers}) == 12


def test_the_legend_is_on_the_first_panel_of_bins():
    figure = pg_plot(Figure(), [boost(BRIGHT)], FOUR, None, None, show_label=True, label_size=5)
    legends = [ax.get_legend() for ax in figure.axes]
    assert [text.get_text() for text in legends[0].get_texts()] == ["S0001_bright_a0_f4096_r1"]
    assert legends[0].get_texts()[0].get_fontsize() == 8
    assert legends[1:] == [None] * 3


def test_lines_are_those_of_the_fit():
    xf = boost(BRIGHT)
    figure = pg_plot(
        Figure(), [xf], FOUR, None, None, show_fit=True, bounds=BOUNDS, fit_flag=[True] * 4, subtract_baseline=False
    )
    values = np.asarray(xf.fit_summary["fit_val"])
    assert values.shape == (4, 2, 4)
    for n, ax in enumerate(figure.axes):
        (line,) = lines(ax)
        x, y = line.get_data()
        assert np.allclose(y, single_exp_all(x, *values[n, 0]))
        assert np.allclose(points(ax)[1], xf.get_g2_data(FOUR)[2][:, n])
        assert ax.get_ylabel() in {"g2", ""}


def test_baselines_are_moved_to_one():
    xf = boost(BRIGHT)
    xf.g2 = xf.g2 + np.float32(0.05)
    figure = pg_plot(Figure(), [xf], FOUR, None, None, show_fit=True, bounds=BOUNDS, fit_flag=[True] * 4, offset=9)
    values = np.asarray(xf.fit_summary["fit_val"])
    for n, ax in enumerate(figure.axes):
        shift = 1 - values[n, 0, 3]
        assert shift == pytest.approx(-0.05, abs=0.02)
        assert np.allclose(points(ax)[1], xf.get_g2_data(FOUR)[2][:, n] + shift)
        x, y = lines(ax)[0].get_data()
        assert np.allclose(y, single_exp_all(x, *values[n, 0]) + shift)
    assert figure.axes[0].get_ylabel() == "g2, baseline at 1"


def test_the_last_fit_is_drawn_where_it_has_the_bin():
    """A fit of other bins, or before ranges were changed, must not lend its lines to their neighbours."""
    xf = boost(BRIGHT)
    summary = xf.fit_g2((0.0021, 0.0026), None, BOUNDS, [True] * 4)
    figure = pg_plot(Figure(), [xf], FOUR, None, None, show_fit=True)
    assert xf.fit_summary is summary
    assert [len(lines(ax)) for ax in figure.axes] == [0, 1, 1, 0]
    x, y = lines(figure.axes[1])[0].get_data()
    baseline = np.asarray(summary["fit_val"])[0, 0, 3]
    assert np.allclose(y, single_exp_all(x, *np.asarray(summary["fit_val"])[0, 0]) + 1 - baseline)
    xf.fit_summary = None
    assert not any(lines(ax) for ax in pg_plot(Figure(), [xf], FOUR, None, None, show_fit=True).axes)


def test_a_bin_that_was_not_fitted_has_points_alone():
    xf = boost(BRIGHT)
    xf.fit_summary = {
        "label": xf.get_g2_data(FOUR)[4],
        "fit_line": [{"success": False, "fit_x": [1], "fit_y": [1], "msg": "no"}] * 4,
        "fit_val": np.full((4, 2, 4), 7.0),
    }
    figure = pg_plot(Figure(), [xf], FOUR, None, None, show_fit=True)
    assert not any(lines(ax) for ax in figure.axes)
    assert np.allclose(points(figure.axes[0])[1], xf.get_g2_data(FOUR)[2][:, 0])


def test_robust_fits_and_their_reduced_chi2():
    xf = boost(BRIGHT)
    figure = pg_plot(
        Figure(), [xf], FOUR, None, None, show_fit=True, bounds=BOUNDS, fit_flag=[True] * 4, robust_fitting=True,
        enable_diagnostics=True,
    )  # fmt: skip
    assert xf.fit_summary["fit_val"][0]["robust_fit"]
    for n, ax in enumerate(figure.axes):
        told = xf.fit_summary["fit_val"][n]["diagnostics"]["reduced_chi2"]
        assert [text.get_text() for text in ax.texts] == [f"χ²/dof {told:.3g}"]


def test_rows_choose_colors_and_markers():
    files = [boost(BRIGHT), boost(STRIDE)]
    figure = pg_plot(Figure(), files, FOUR, None, None, rows=[3, 13], marker_size=9)
    first, second = (container.lines[0] for container in figure.axes[0].containers)
    assert (first.get_color(), second.get_color()) == (COLORS[3], COLORS[3])
    assert first.get_marker() == second.get_marker() != "o"
    assert first.get_markersize() == 9
    assert pg_plot(Figure(), files, FOUR, None, None, rows=[]).axes[0].containers[1].lines[0].get_color() == COLORS[1]


def test_handles(tmp_path):
    xf = boost(BRIGHT)
    figure = Figure()
    assert pg_plot(SimpleNamespace(figure=figure), [xf], FOUR, None, None) is figure
    assert pg_plot(figure, [xf], (0.0018, 0.0025), None, None) is figure
    assert len(figure.axes) == 2, "what was there is replaced"
    ax = Figure().add_subplot()
    assert pg_plot(ax, [xf], FOUR, None, None) is ax.figure
    assert len(ax.containers) == 4
    half = Figure().subfigures(1, 2)[0]
    assert len(pg_plot(half, [xf], FOUR, None, None).axes) == 4
    for wrong in (None, SimpleNamespace(figure=3), "figure"):
        with pytest.raises(ConfigError, match=r"matplotlib Figure or Axes, or have one as \.figure, not"):
            pg_plot(wrong, [xf], FOUR, None, None)
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_drawing_needs_no_window():
    backend = mpl.get_backend()
    pg_plot(Figure(), [boost(BRIGHT)], FOUR, None, None)
    assert mpl.get_backend() == backend


def test_nothing_to_draw():
    for files in ([], [boost(TWO_TIME)]):
        with pytest.raises(ConfigError, match="nothing to draw"):
            pg_plot(Figure(), files, None, None, None)
    with pytest.raises(ConfigError, match="plot_type"):
        pg_plot(Figure(), [boost(BRIGHT)], None, None, None, plot_type="grid")
