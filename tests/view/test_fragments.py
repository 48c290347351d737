from __future__ import annotations

import math

from xpcs_dask.fitting.layout import ErrorsFrom, Flag, Status
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
    assert "(2.350 ± 0.012)·10<sup>-6</sup>" in table(line(2.35e-6, 1.2e-8))
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
    assert list(flags_in_words(int(Flag.AT_BOUND | Flag.POINTS_EXCLUDED))) == [
        ("a free parameter ended on its bound; it has no error", True),
        ("points were left out by rule (grey in the figure, with the reason)", False),
    ]
    assert list(flags_in_words(1 << 30)) == [("flags of a later version (1073741824)", True)]
