"""A part of the validation that needs no network; all of it is ``make validate``."""

from __future__ import annotations

import numpy as np
import pytest

from tests.validation import against_data, against_scipy, against_truth, against_viewer, compatibility
from tests.validation.cases import multitau_files
from tests.validation.environment import NoViewer, viewer_python
from tests.validation.table import Row, show

CARRIED = [path for path in multitau_files() if path.parent.name == "boost_corr"]


def check(rows):
    """Fail with the rows that do not hold."""
    assert rows
    failed = [f"{row.what}: {row.found} ({row.limit}) {'; '.join(row.notes)}" for row in rows if row.holds is False]
    assert not failed, "\n".join(failed)


def test_diffusion_of_the_producers_frames():
    check([*against_truth.files(), *against_truth.tau_of_q()])


def test_minima_of_scipy():
    check(against_scipy.minima([CARRIED[0], next(path for path in CARRIED if "S0003" in path.name)]))


@pytest.mark.slow
def test_certified_values():
    check(against_scipy.certified())


@pytest.mark.parametrize(
    ("name", "keys", "function"), compatibility.CALLS, ids=[name for name, _, _ in compatibility.CALLS]
)
def test_documented_call(name, keys, function, tmp_path, monkeypatch):
    monkeypatch.setenv("XPCS_CACHE_DIR", str(tmp_path))
    compatibility.has(function() or {}, keys)


def test_a_call_that_fails_is_a_row_that_fails(monkeypatch):
    def broken():
        raise RuntimeError("it broke")

    calls = [("broken", "", broken), ("short", "a b", lambda: {"a": 1}), ("whole", "a", lambda: {"a": 1})]
    monkeypatch.setattr(compatibility, "CALLS", calls)
    rows = compatibility.rows()
    assert [row.holds for row in rows] == [False, False, True]
    assert "RuntimeError: it broke" in rows[0].notes[0]
    assert "lacks b" in rows[1].notes[0]


def answer_of(job, found, worse=0.0):
    """What pyXpcsViewer would answer had it found the same, or something worse."""
    xf = against_viewer.XpcsFile(job["path"])
    _, t_el, g2, error, labels = xf.get_g2_data()
    value = np.array(found["fit_val"])
    value[:, 0, 1] *= 1 + worse
    return {
        "fit_val": value, "success": np.ones(len(value), bool), "fit_x": found["fit_line"][0]["fit_x"],
        "t_el": t_el, "q_val": found["q_val"], "g2": g2, "sigma": xf.correct_g2_err(error), "keys": list(found),
        "line_keys": ["fit_x", "fit_y", "msg", "success"], "label": list(labels), "q_range": "None", "t_range": "None",
        "fit_flag": str([True] * value.shape[2]),
    }  # fmt: skip


@pytest.mark.parametrize(("worse", "lower"), [(0.0, 0), (0.1, 12)])
def test_what_is_the_same_holds_and_what_is_lower_is_counted(monkeypatch, worse, lower):
    monkeypatch.setattr(
        against_viewer,
        "ask_viewer",
        lambda _, jobs: [answer_of(job, against_viewer.our_fit(job), worse) for job in jobs],
    )
    monkeypatch.setattr(against_viewer, "jobs_of", _one_job)
    rows = against_viewer.compare_fits(None, CARRIED[:1], "single")
    check(rows)
    assert f" {lower} lower" in rows[0].found


def test_what_is_above_fails_with_its_bin(monkeypatch):
    real = against_viewer.our_fit
    monkeypatch.setattr(against_viewer, "ask_viewer", lambda _, jobs: [answer_of(job, real(job)) for job in jobs])
    monkeypatch.setattr(against_viewer, "jobs_of", _one_job)
    monkeypatch.setattr(against_viewer, "our_fit", lambda job: _worse(real(job)))
    row = against_viewer.compare_fits(None, CARRIED[:1], "single")[0]
    assert row.holds is False
    assert row.found.startswith("12 above")
    assert "bin 0" in row.notes[0]


def _one_job(files, only):
    from tests.validation.cases import calls

    _, t_el, *_ = against_viewer.XpcsFile(files[0]).get_g2_data()
    return [{"kind": "fit", "path": str(files[0]), "case": "single", **dict(calls(t_el, np.ones(1)))["single"]}]


def _worse(found):
    value = np.array(found["fit_val"])
    value[:, 0, 1] *= 1.1
    return {**found, "fit_val": value}


def test_components_may_come_in_either_order():
    known = np.array([[0.2, 1e-3, 1.0, 1.0, 1.0, 0.8, 0.3]])
    turned = known[:, [0, 4, 5, 3, 1, 2, 6]]
    turned[:, 6] = 0.7
    assert against_viewer.apart(turned, known)[0] < 1e-12
    assert against_viewer.apart(known * 1.01, known)[0] == pytest.approx(0.01)


def test_the_table_is_printed_with_its_exceptions(capsys):
    show("Title", [Row("a", "b", 3, "2 of 3", "all", False, ("bin 7",)), Row("c", "d", 1, "1", "", None)])
    printed = capsys.readouterr().out
    assert "## Title" in printed
    assert "| a | b | 3 | 2 of 3 | all | FAILS |" in printed
    assert "| c | d | 1 | 1 |  |  |" in printed
    assert "- a: bin 7" in printed


@pytest.fixture(scope="module")
def viewer():
    try:
        return viewer_python()
    except NoViewer as reason:
        pytest.skip(f"pyXpcsViewer cannot be installed: {reason}")


@pytest.mark.slow
def test_fits_of_pyxpcsviewer(viewer):
    check(against_viewer.compare_fits(viewer, CARRIED[:1]))


@pytest.mark.slow
def test_data_of_pyxpcsviewer(viewer):
    check(against_data.compare_data(viewer))
