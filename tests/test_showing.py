from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from xpcs_dask.engine.events import State, sentence
from xpcs_dask.showing import bars, notebook_text, shown

FITTING = State(
    stage="fitting", blocks=4, blocks_done=1, curves=50, curves_done=20, bytes=10**8, bytes_read=4 * 10**7,
    curves_per_second=2500.0, seconds_left=12.4, failures={"no_data": 2}, memory=3 * 10**8,
)  # fmt: skip


def test_bars_are_drawn_on_stderr(capsys):
    with bars() as draw:
        draw(State(files=3, files_opened=1))
        draw(State(files=3, files_opened=3))
        draw(FITTING)
        draw(State(stage="done", curves=50, curves_done=50))
    out, err = capsys.readouterr()
    assert out == ""
    assert "opening" in err
    assert "3/3" in err
    assert "50/50" in err


def test_a_sentence_says_what_a_person_asks():
    assert sentence(FITTING) == (
        "fitting: 20 of 50 curves, 2,500 curves/s, 1 of 4 blocks, 40 of 100 MB, 2 no_data, 300 MB of memory, "
        "12 s left, 0 s so far"
    )
    regrouping = State(stage="regrouping", bytes=2 * 10**9, bytes_read=5 * 10**8, elapsed=7.2)
    assert sentence(regrouping) == "regrouping: 500 of 2,000 MB, 7 s so far"
    assert sentence(State(files=3, files_opened=1)) == "opening: 1 of 3 files, 0 s so far"


def test_a_notebook_has_one_line_that_changes(monkeypatch):
    said = []

    class Handle:
        def update(self, data, raw):
            said.append(data["text/plain"])

    shell = SimpleNamespace(kernel=object())
    display = SimpleNamespace(display=lambda data, raw, display_id: Handle())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    notebook_text()(FITTING)
    with shown(True) as listeners:
        for listener in listeners:
            listener(State(stage="done"))
    assert said == [sentence(FITTING), sentence(State(stage="done"))]


def test_a_small_job_is_told_in_small_units():
    small = State(stage="done", curves=36, curves_done=36, blocks=1, blocks_done=1, bytes=164_000, bytes_read=164_000)
    assert sentence(small) == "done: 36 of 36 curves, 1 of 1 blocks, 164 of 164 kB, 0 s so far"
    assert (
        sentence(State(stage="regrouping", bytes=9_000, bytes_read=900)) == "regrouping: 900 of 9,000 bytes, 0 s so far"
    )
    assert str(small) == sentence(small)
    assert State(stage="done", failures={"<b>": 2})._repr_html_() == (
        "<div>done: 0 of 0 curves, 2 &lt;b&gt;, 0 s so far</div>"
    )


def test_what_an_earlier_call_did_is_said():
    state = State(stage="done", curves=36, curves_done=36, blocks=3, blocks_done=3, blocks_before=2)
    assert "3 of 3 blocks (2 by an earlier call)" in sentence(state)


@pytest.mark.parametrize(("asked", "tty", "number"), [(True, False, 1), (True, True, 2), (False, True, 1)])
def test_nothing_is_drawn_where_nobody_looks(monkeypatch, asked, tty, number):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty, raising=False)
    with shown(asked) as listeners:
        assert len(listeners) == number


def test_any_function_can_listen():
    heard = []
    with shown(heard.append) as listeners:
        listeners[-1](FITTING)
    assert heard == [FITTING]
