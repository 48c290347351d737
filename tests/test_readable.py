from __future__ import annotations

import pytest

import xpcs_dask as xd
from xpcs_dask.engine.plan import Sizes, make_plan
from xpcs_dask.readable import card, share, size


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (812, "812 bytes"), (9_999, "9,999 bytes"), (10_000, "10 kB"), (9_999_999, "10,000 kB"),
     (7_912_000, "7,912 kB"), (10**7, "10 MB"), (9_900 * 10**6, "9,900 MB"), (19_765_864_038, "20 GB")],
)  # fmt: skip
def test_sizes_have_two_digits_and_more(nbytes, text):
    assert size(nbytes) == text


def test_a_part_has_the_unit_of_the_whole():
    assert share(164_000, 164_000) == "164 of 164 kB"
    assert share(0, 10**8) == "0 of 100 MB"
    assert share(5 * 10**8, 2 * 10**9) == "500 of 2,000 MB"


def test_a_card_escapes_all_and_links_addresses():
    shown = card(
        "a < b", {"<i>": "x & y", "link": "http://127.0.0.1:1/status?a='b'", "none": None, "empty": "", "0": 0}
    )
    assert "a &lt; b" in shown
    assert "&lt;i&gt;" in shown
    assert "x &amp; y" in shown
    assert "<a href='http://127.0.0.1:1/status?a=&#x27;b&#x27;' target='_blank' rel='noopener'>" in shown
    assert shown.count("<tr>") == 3
    assert "javascript" not in card("", {"a": "javascript:alert(1)"}).replace("javascript:alert(1)</td>", "")


def test_text_with_an_address_is_no_link():
    assert "<a " not in card("", {"a": "see http://127.0.0.1 there", "b": "http://here and there"})


@pytest.mark.parametrize(
    "config",
    [
        xd.FitConfig(),
        xd.FitConfig(bounds={"tau": (1e-5, 10)}, loss="huber", q_range=(0.003, 0.02), detail="core"),
        xd.FitConfig(bounds={"tau": (1e-5, float("inf"))}, delay_range=(1e-4, float("inf"))),
        xd.BootstrapConfig(resamples=500, seed=7),
        xd.RunConfig(inputs=["a.hdf"], bootstrap={"resamples": 50}, fit={"errors": "quoted"}),
    ],
    ids=lambda config: type(config).__name__,
)
def test_settings_say_what_was_set_and_make_the_same_again(config):
    from xpcs_dask import BootstrapConfig, FitConfig, RunConfig  # noqa: F401  named in what is evaluated

    assert eval(repr(config)) == config
    assert type(config).__name__ in config._repr_html_()


def test_defaults_are_not_repeated():
    assert repr(xd.FitConfig()) == "FitConfig()"
    assert "at their defaults" in xd.FitConfig()._repr_html_()
    assert repr(xd.FitConfig(loss="huber", level=0.95)) == "FitConfig(loss='huber')"
    assert repr(xd.RunConfig(inputs=["a.hdf"])) == "RunConfig(inputs=('a.hdf',))"


def test_a_model_says_its_formula():
    model = xd.MODELS["simple"]
    assert repr(model) == "<Model simple(contrast, tau, baseline): baseline + contrast * exp(-2 * t / tau)>"
    shown = model._repr_html_()
    assert "0.1 times the first delay to 10 times the last" in shown
    assert "g2 at infinite delay; unit 1; 0.5 to 1.5" in shown
    own = xd.Model.from_function(lambda t, a: a * t)
    assert "&lt;lambda&gt;" in own._repr_html_()
    assert "any number; unit 1; -inf to inf" in own._repr_html_()


def test_a_plan_says_curves_blocks_and_memory():
    sizes = Sizes(rows=1000, row_curves=12, points=64, read=6144, largest=3072, result=1200, scratch=10**6)
    plan = make_plan([sizes], 2, 10**9)
    assert repr(plan) == (
        f"Plan(mode='standard', 12,000 curves in {plan.blocks} blocks on 2 workers, {size(plan.task_bytes)} a task, "
        f"{size(plan.peak_bytes)} of 1,000 MB in all)"
    )
    shown = plan._repr_html_()
    assert "Plan: standard" in shown
    assert "12,000, 6,144 kB to read" in shown
    assert "together in memory" in shown
