"""Every figure beside a picture of it that was looked at.

Pictures hold the panels alone, in fixed places and without letters (`figures.bare`): fonts differ between releases of
matplotlib and move everything else, and what is written is tested as text. They are blurred before they are compared
(means of 4 x 4 pixels at 60 dots an inch), so that a line between two pixels counts the same on either. Measured, root
mean square of the difference, of 255: matplotlib 3.9.0 and 3.10.0 instead of 3.11.2 make at most 0.91 (a colour map),
a figure without its band, its hollow points, its fit, law or choice 2.5 or more. The tolerance is between.
"""

import io

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.image import imread
from matplotlib.lines import Line2D

from tests.plots.figures import BASELINE, FIGURES, bare, drawn

BLUR = 4
TOLERANCE = 1.6


def blurred(source):
    pixels = 255 * imread(source)[..., :3]
    height, width = (size // BLUR * BLUR for size in pixels.shape[:2])
    return pixels[:height, :width].reshape(height // BLUR, BLUR, width // BLUR, BLUR, 3).mean(axis=(1, 3))


def difference(one, other):
    """Root mean square of what differs."""
    assert one.shape == other.shape
    return float(np.sqrt(np.mean((one - other) ** 2)))


@pytest.mark.parametrize("name", FIGURES)
def test_figures_look_as_they_did(name):
    made = io.BytesIO()
    bare(drawn(name), made)
    made.seek(0)
    found = difference(blurred(made), blurred(BASELINE / f"{name}.png"))
    assert found < TOLERANCE, f"{name} differs by {found:.2f}; look at it, then python -m tests.plots.figures"


def without(name, gone):
    """How far a figure differs from its picture when some of its artists are hidden."""
    figure = drawn(name)
    artists = [artist for axes in figure.axes for artist in axes.get_children() if gone(artist)]
    assert artists, name
    for artist in artists:
        artist.set_visible(False)
    made = io.BytesIO()
    bare(figure, made)
    made.seek(0)
    return difference(blurred(made), blurred(BASELINE / f"{name}.png"))


def long_line(artist):
    return isinstance(artist, Line2D) and len(artist.get_xdata()) > 100


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("g2_refits", lambda artist: isinstance(artist, PolyCollection)),
        ("g2_refits", long_line),
        ("g2_starved", lambda artist: artist.get_gid() == "zero count"),
        (
            "tau_q_files",
            long_line,
        ),
        ("parameter_map", lambda artist: type(artist).__name__ == "QuadMesh"),
        ("comparison_bic", lambda artist: artist.get_gid() == "chosen"),
    ],
    ids=["band", "fit", "hollow points", "law", "map", "chosen model"],
)
def test_the_comparison_sees_what_is_missing(name, gone):
    assert without(name, gone) > TOLERANCE
