"""Every figure can be read in a journal column: widths, letters, ticks, legends, colours, units."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from tests.plots.figures import FIGURES, drawn
from xpcs_dask.plots import style

PURE = (
    "contrast",
    "stretch",
    "baseline",
    "residual / σ",
    "number of",
    "curves",
    "$g_2$",
    "$C_2",
    "AICc",
    "BIC",
    "Akaike",
)
PURE += ("start (local time)",)
"""What has no unit."""


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    made = drawn(request.param)
    made.draw_without_rendering()
    return made


def shown(figure):
    return [axes for axes in figure.axes if axes.axison]


def legends(figure):
    return [child for axes in figure.axes for child in axes.get_children() if isinstance(child, Legend)]


def tick_labels(axis):
    return [label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()]


def overlap(boxes):
    """Whether any two boxes share more than a fifth of a letter."""
    slack = 1.0
    return [
        (k, j)
        for k in range(len(boxes))
        for j in range(k)
        if min(boxes[k].x1, boxes[j].x1) - max(boxes[k].x0, boxes[j].x0) > slack
        and min(boxes[k].y1, boxes[j].y1) - max(boxes[k].y0, boxes[j].y0) > slack
    ]


def test_it_is_as_wide_as_a_column(figure):
    assert figure.get_figwidth() * 2.54 == pytest.approx(8.6, abs=0.01)


def test_letters_are_7_to_9_points(figure):
    for axes in shown(figure):
        texts = [axes.xaxis.label, axes.yaxis.label, *axes.texts, *tick_labels(axes.xaxis), *tick_labels(axes.yaxis)]
        for text in (text for text in texts if text.get_text()):
            assert 7 <= text.get_fontsize() <= 9, text
    for legend in legends(figure):
        assert all(7 <= text.get_fontsize() <= 9 for text in legend.get_texts())


def test_ticks_do_not_overlap(figure):
    for axes in shown(figure):
        for axis in (axes.xaxis, axes.yaxis):
            labels = tick_labels(axis)
            low, high = sorted(axis.get_view_interval())
            inside = [
                label
                for label, place in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=False)
                if label in labels and low <= place <= high
            ]
            boxes = [label.get_window_extent() for label in inside]
            assert not overlap(boxes), [label.get_text() for label in inside]


def test_ticks_of_neighbouring_panels_do_not_overlap(figure):
    boxes = [
        label.get_window_extent()
        for axes in shown(figure)
        for label, place in zip(axes.xaxis.get_ticklabels(), axes.xaxis.get_ticklocs(), strict=False)
        if label.get_text() and label.get_visible() and axes.xaxis.get_tick_params().get("labelbottom", True)
        and np.prod(np.asarray(sorted(axes.get_xlim())) - place) <= 0
    ]  # fmt: skip
    assert not overlap(boxes)


def test_legends_hide_no_panel_and_not_each_other(figure):
    boxes = [legend.get_window_extent() for legend in legends(figure)]
    for box in boxes:
        for axes in shown(figure):
            panel = axes.get_window_extent()
            assert box.y0 >= panel.y1 - 2 or box.y1 <= panel.y0 or box.x0 >= panel.x1
    assert not overlap([Inner(box) for box in boxes])


class Inner:
    """A box less the room around the letters in it."""

    def __init__(self, box):
        self.x0, self.x1, self.y0, self.y1 = box.x0, box.x1, box.y0 + 4, box.y1 - 4


def test_nothing_that_is_written_is_cut_off(figure):
    edge = figure.bbox
    for axes in shown(figure):
        for text in (axes.xaxis.label, axes.yaxis.label):
            if text.get_text():
                box = text.get_window_extent()
                assert min(box.x0 - edge.x0, edge.x1 - box.x1, box.y0 - edge.y0, edge.y1 - box.y1) >= -1
    for legend in legends(figure):
        box = legend.get_window_extent()
        assert min(edge.x1 - box.x1, edge.y1 - box.y1) >= -4, [text.get_text() for text in legend.get_texts()]


def test_axes_have_names_and_units(figure):
    for axes in shown(figure):
        for axis in (axes.xaxis, axes.yaxis):
            name = axis.label.get_text()
            if not tick_labels(axis) or axis.get_tick_params().get("labelbottom", True) is False:
                continue
            assert "(" in name or any(name.startswith(text) for text in PURE) or not name, name
    bottom = [axes for axes in shown(figure) if axes.get_xlabel()]
    assert bottom, "no axis is named"


def test_lines_and_points_have_colours_of_the_palette(figure):
    ordered = {to_hex(colour) for count in range(1, 13) for colour in style.ordered(count)}
    allowed = {colour.lower() for colour in (*style.FILLS, style.GREY, style.PALE)} | ordered | {"#ffffff"}
    for axes in figure.axes:
        for line in axes.findobj(Line2D):
            if line in axes.lines:
                assert to_hex(line.get_color()) in allowed, line
        for bars in axes.collections:
            for colour in np.atleast_2d(bars.get_edgecolor()):
                if axes.axison and colour.size and bars.get_array() is None:
                    assert to_hex(colour[:3]) in allowed
