from __future__ import annotations

import math

import numpy as np

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
from xpcs_dask.reporting.words import verdicts
from xpcs_dask.view import fragments
from xpcs_dask.view.state import REFIT, STORE, Line, State
from xpcs_dask.view.words import flags_in_words, rests_on, status_in_words


def line(value=0.39071, stderr=0.0088, **changes):
    known = {"name": "tau", "unit": "s", "low": math.nan, "high": math.nan, "stored": math.nan, "held": False}
    return Line(**{**known, "no_error": False, "value": value, "stderr": stderr, **changes})


def table(*lines):
    return fragments.parameters(State(source=REFIT, notes=(), lines=lines, rests_on="x < y"), 0.95)


def test_values_have_the_digits_of_their_errors():
    assert "0.3907 ± 0.0088" in table(line())
    assert "(2.350 ± 0.012) × 10⁻⁶" in table(line(2.35e-6, 1.2e-8))
    assert "12.3 ± 1.5" in table(line(12.34, 1.5))
    assert "no error" in table(line(stderr=math.nan, no_error=True))
    assert "held" in table(line(1.0, 0.0, held=True))
    assert "<td>–</td>" in table(line(math.nan, math.nan))


def test_columns_appear_where_there_is_something():
    assert "95% interval" not in table(line())
    assert "0.37 … 0.41" in table(line(low=0.37, high=0.41))
    assert "<th>store</th>" in table(line(stored=0.4))


def test_what_comes_from_files_is_escaped():
    bad = "<script>alert(1)</script>"
    state = State(source=STORE, notes=(bad,), status=bad, flags=((bad, True),), goodness=bad, rests_on=bad)
    made = [
        fragments.said(state), fragments.top(state, bad), fragments.message(bad), fragments.plain(bad),
        fragments.header(bad, bad), fragments.code([(bad, bad)]), fragments.columns([bad]),
        fragments.parameters(State(source=STORE, notes=(), lines=(line(name=bad, unit=bad),)), 0.95),
    ]  # fmt: skip
    assert not any("<script" in text for text in made)


def test_every_code_has_words():
    assert all(status_in_words(int(code)) for code in Status)
    assert all(rests_on(int(code)) for code in ErrorsFrom)
    for flag in Flag:
        assert len(list(flags_in_words(int(flag)))) == 1
    (bound, doubted), (excluded, noted) = flags_in_words(int(Flag.AT_BOUND | Flag.POINTS_EXCLUDED))
    assert bound.startswith("at a bound: ")
    assert excluded.startswith("points not used: ")
    assert (doubted, noted) == (True, False)


def test_what_a_report_calls_a_doubt_is_one_here():
    doubts = {flag for flag in Flag if next(iter(flags_in_words(int(flag))))[1]}
    good = {flag for flag in Flag if verdicts(np.array([Status.CONVERGED]), np.array([flag], np.uint32))[0] == 0}
    assert doubts == set(Flag) - good
    assert Flag.COUNTS_UNKNOWN not in doubts


def test_flags_of_a_later_version_are_told_by_their_number():
    assert list(flags_in_words(1 << 30)) == [("flags of a later version (1073741824)", True)]
