from __future__ import annotations

import numpy as np
import pytest

import xpcs_dask as xd
from xpcs_dask.view.drawing import HAND
from xpcs_dask.view.refit import refit
from xpcs_dask.view.session import Session
from xpcs_dask.view.sources import open_all
from xpcs_dask.view.state import REFIT, STORE, UNREAD, UNSTORED


def fitted(session):
    session.take(refit(session.curves, session.choices, session.excluded))
    return session.state()


def test_the_store_is_shown_as_it_is(session, series):
    state = fitted(session)
    stored = xd.open_results(series[1]).isel(file=0, qbin=session.bin)
    assert (state.source, state.notes) == (STORE, ())
    assert [line.value for line in state.lines] == stored["value"].values.tolist()
    assert [line.stderr for line in state.lines] == stored["stderr"].values.tolist()
    assert session.curve().band[0].size > 0  # though the store has no covariance


def test_a_change_is_a_refit_and_back_is_the_store(session):
    fitted(session)
    session.choose(model="simple")
    assert session.state().source == STORE  # what is shown is still that
    state = fitted(session)
    assert state.source == REFIT
    assert [line.name for line in state.lines] == ["contrast", "tau", "baseline"]
    assert all(np.isfinite(line.stored) for line in state.lines)
    session.as_stored()
    assert fitted(session).source == STORE


def test_what_a_model_holds_by_itself_is_held(session):
    session.choose_text("held", "baseline", "1")
    assert [line.name for line in fitted(session).lines if line.held] == ["baseline"]
    session.choose_text("held", "baseline", "")
    session.choose(model="heterodyne")
    assert [line.name for line in fitted(session).lines if line.held] == ["baseline"]


def test_points_are_left_out_taken_back_and_marked(session):
    fitted(session)
    session.toggle([3, 4])
    assert fitted(session).source == REFIT
    drawn = session.curve()
    assert [k for k, why in enumerate(drawn.why) if why == HAND] == [3, 4]
    assert np.isfinite(drawn.g2[[3, 4]]).all()  # still drawn
    assert np.isnan(drawn.residual[[3, 4]]).all()
    session.toggle([4, 5])  # some of them are in: out with all
    assert {delay for _, delay in session.excluded} == {3, 4, 5}
    session.toggle([3, 4, 5])
    assert session.excluded == frozenset()


def test_points_that_are_not_used_anyhow_are_not_left_out_by_hand(session):
    fitted(session)
    last = session.curve().delay.size - 1
    assert "few products" in session.curve().why[last]
    session.toggle([last])
    assert not session.excluded


def test_points_of_all_bins(session):
    fitted(session)
    session.toggle([7], everywhere=True)
    assert session.excluded == {(bin_, 7) for bin_ in range(36)}


def test_settings_stay_and_points_do_not_when_the_file_changes(session):
    fitted(session)
    session.select_bin(30)
    session.choose(model="simple")
    session.toggle([7])
    session.select_file(1)
    assert (session.choices.model, session.bin, session.excluded, session.found) == ("simple", 30, frozenset(), None)
    session.select_bin(99)
    assert session.bin == 35


def test_without_data_the_store_is_shown_and_what_is_missing(series, tmp_path):
    results = xd.open_results(series[1]).load()
    lost = xd.save(results.assign_coords(path=("file", ["/gone/a.hdf", "/gone/b.hdf"])), tmp_path / "lost.zarr")
    session = Session(open_all([str(lost)]))
    state = session.state()
    assert state.source == STORE
    assert "/gone/a.hdf is not there any more" in state.notes[0]
    assert state.lines[1].value == results["value"].values[0, session.bin, 1]
    assert (session.curve(), session.can_fit) == (None, False)
    np.testing.assert_array_equal(session.overview("tau").value, results["value"].values[0, :, 1])


def test_a_store_that_cannot_be_fitted_again_alike_says_so(series, tmp_path):
    results = xd.open_results(series[1]).load()
    results["value"][0, 3, 1] *= 1.5
    session = Session(open_all([str(xd.save(results, tmp_path / "other.zarr"))]))
    (note,) = fitted(session).notes
    assert "differs from what it holds by up to" in note


def test_a_function_of_the_user_is_shown_and_another_model_can_be_taken(series, tmp_path):
    def mine(t, contrast, tau):
        return 1 + contrast * np.exp(-2 * t / tau)

    fits = xd.fit(xd.open_g2(series[0][0]), mine, bounds={"tau": (1e-4, 1.0), "contrast": (0.0, 1.0)})
    session = Session(open_all([str(xd.save(fits, tmp_path / "mine.zarr"))]))
    assert not session.can_fit
    assert "a function of its user" in session.state().notes[0]
    assert [line.name for line in session.state().lines] == ["contrast", "tau"]
    session.choose(model="simple")
    assert fitted(session).source == REFIT


def test_files_alone_have_no_store(series):
    session = Session(open_all([str(series[0][0])]))
    assert session.state().source == UNREAD
    assert fitted(session).source == UNSTORED


def test_bins_outside_the_q_range_are_not_fitted(series, tmp_path):
    fits = xd.fit(xd.open_g2(series[0][0]), "single", q_range=(0.01, 0.02))
    session = Session(open_all([str(xd.save(fits, tmp_path / "part.zarr"))]))
    assert fitted(session).notes == ()
    session.select_bin(0)
    assert "outside the q range" in session.state().notes[0]
    assert not session.curve().used.any()
    found = session.overview("tau").value
    assert np.isfinite(found).sum() == fits.sizes["qbin"] < 36


@pytest.mark.parametrize("name", ["tau", "contrast"])
def test_the_overview_has_both_the_refit_and_the_store(session, series, name):
    fitted(session)
    session.choose(model="simple")
    fitted(session)
    found = session.overview(name)
    stored = xd.open_results(series[1]).isel(file=0)["value"].sel(parameter=name)
    np.testing.assert_array_equal(found.stored, stored)
    np.testing.assert_array_equal(found.value, session.found.results["value"].sel(parameter=name))
    assert (found.low < found.value).all()
    assert found.unit == ("s" if name == "tau" else "1")


def test_a_model_with_a_vibration_is_fitted_again(series, tmp_path):
    fits = xd.fit(xd.open_g2(series[0][0]), "simple+vibration")
    session = Session(open_all([str(xd.save(fits, tmp_path / "vibrating.zarr"))]))
    assert session.can_fit
    session.choose_text("held", "frequency", "60")
    state = fitted(session)
    assert [line.name for line in state.lines if line.held] == ["frequency"]
    assert "function of its user" not in " ".join(state.notes)
