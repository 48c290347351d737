"""One point that dominates the quoted weights: planted, found, and told with the numbers of fits made here."""

from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from tests.conftest import shared
from xpcs_dask.reporting import report
from xpcs_dask.reporting.data import curves_of
from xpcs_dask.reporting.one_point import DEFAULT, QUOTED, WITHOUT, quoted_shares
from xpcs_dask.reporting.source import opened
from xpcs_dask.reporting.survey import survey

from .conftest import planted
from .page_reader import Page

POINT, BIN = -1, 3


@pytest.fixture(scope="module")
def collapsed():
    """A file whose errors are sound but for one point, which lies low and claims a tiny error."""
    data = planted().isel(file=[1], qbin=[0, 1, 2, 3])
    g2, error = data["g2"].values.copy(), np.full(data["g2"].shape, 2e-3)
    g2[0, BIN, POINT], error[0, BIN, POINT] = 0.97, 5e-5
    return data.assign(g2=data["g2"].copy(data=g2), g2_err=data["g2_err"].copy(data=error))


@pytest.fixture(scope="module")
def looked(collapsed):
    source = opened(xd.fit(collapsed, "simple"))
    return survey(source, curves_of(source, source.files(), [0], collapsed), source.files())


def test_the_planted_point_is_found(looked, collapsed):
    error = collapsed["g2_err"].values[0, BIN]
    share = error[POINT] ** -2 / (error**-2).sum()
    assert (looked.files, looked.curves, looked.dominated) == (1, 4, 1)
    assert looked.story.share == pytest.approx(share)
    assert looked.story.point == collapsed.sizes["delay"] - 1
    assert looked.story.collapse == pytest.approx(5e-5 / 2e-3)
    assert looked.story.default_shares.max() < 0.25


def test_the_fits_of_the_story_are_those_of_fit(looked, collapsed):
    one = collapsed.isel(qbin=[BIN])
    rest = one.assign(g2_err=one["g2_err"].where(one["delay"] < one["delay"].max()))
    expected = {
        QUOTED: xd.fit(one, "simple", errors="quoted", min_products=1),
        WITHOUT: xd.fit(rest, "simple", errors="quoted", min_products=1),
        DEFAULT: xd.fit(one, "simple"),
    }
    assert [variant.errors for variant in looked.story.variants] == list(expected)
    for variant in looked.story.variants:
        assert variant.tau == float(expected[variant.errors]["value"].sel(parameter="tau").squeeze())
    tau = {variant.errors: variant.tau for variant in looked.story.variants}
    truth = 1 / (2e6 * float(collapsed["q"][BIN]) ** 2)
    assert abs(tau[WITHOUT] / truth - 1) < 0.05 < abs(tau[QUOTED] / truth - 1)


def test_it_is_told_in_words_and_drawn(few_figures, looked, collapsed, tmp_path):
    story = looked.story
    found = Page(report(xd.fit(collapsed, "simple"), tmp_path / "r.html", data=collapsed))
    assert "In 1 of 4 curves looked at (1 file) one point holds more than a quarter of the weight" in found.text
    assert f"holds {100 * story.share:.0f} % of the weight of the quoted errors" in found.text
    assert "These results were not made with the quoted errors" in found.text
    assert "Model simple: relaxation time" in found.text
    assert any("holds" in alternative and "of the quoted errors" in alternative for alternative in found.figures)


@pytest.mark.parametrize(
    ("min_products", "words"), [(1, "1 fit of these curves rests"), (4, "0 fits of these curves rest")]
)
def test_of_results_with_quoted_errors_those_are_counted_that_rest_on_it(collapsed, min_products, words):
    """By default the last delays are left out, quoted errors or not: then nothing rests on them."""
    source = opened(xd.fit(collapsed, "simple", errors="quoted", min_products=min_products))
    looked = survey(source, curves_of(source, source.files(), [0], collapsed), source.files())
    assert f"made with the quoted errors: {words} on one point" in looked.in_words()[0]


def test_shares_leave_out_what_has_no_error():
    g2 = np.array([[1.1, 1.1, 0.0, np.nan, 1.0], [np.nan] * 5])
    error = np.array([[0.1, 0.05, 0.01, 0.01, 0.0], [0.1] * 5])
    np.testing.assert_allclose(quoted_shares(g2, error), [[0.2, 0.8, 0, 0, 0], [0, 0, 0, 0, 0]])


def test_curves_without_errors_are_not_looked_at(collapsed):
    bare = collapsed.drop_vars("g2_err")
    source = opened(xd.fit(bare, "simple", errors="none"))
    looked = survey(source, curves_of(source, source.files(), [0], bare), source.files())
    assert (looked.curves, looked.in_words()) == (0, [])


def test_the_story_of_a_real_file():
    """On this curve the last point holds 83 % of the quoted weights, which changes tau by a factor of two."""
    data = xd.open_g2(shared("aps/E0173_H06-c6c5-4_a0009_f100000_r00001_results.hdf"), chunks=None)
    source = opened(xd.fit(data, "simple"))
    story = survey(source, curves_of(source, source.files(), [0], data), source.files()).story
    assert (story.where[:5], story.point) == ("bin 1", 60)
    assert round(100 * story.share) == 83
    tau = {variant.errors: variant.tau for variant in story.variants}
    assert 1.9 < tau[QUOTED] / tau[WITHOUT] < 2.2
    assert abs(tau[DEFAULT] / tau[WITHOUT] - 1) < 0.1
