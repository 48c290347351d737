from __future__ import annotations

import itertools
import math
import subprocess
import sys
import types
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.special import erf

from xpcs_dask.config import FitConfig
from xpcs_dask.engine.cache_key import NotCacheableError, digest, program
from xpcs_dask.fitting.blocks import Job, fit_block
from xpcs_dask.fitting.models import MODELS, Model

PROGRAM = """
import numpy as np
from functools import partial
from xpcs_dask.config import FitConfig
from xpcs_dask.engine.cache_key import digest, program
from xpcs_dask.fitting.models import MODELS
def f(x, a, tau):
    return a * np.exp(-x / tau) * scale(x)
def scale(x): return {0.1, 0.2, "b"} and x
print(digest(f, MODELS["double"], FitConfig(fixed={"baseline": 1.0}), {"b", "a", 1.5}, np.arange(3.0)).hex(),
      program().hex())
"""


def test_other_processes_agree():
    """Hashes of texts, and with them the order of sets, differ from process to process."""
    ran = [
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert ran[0] == ran[1]
    assert ran[0].split()[1] == program().hex()


PLAIN = [
    None, True, 1, 1.0, "1", b"1", 1 + 0j, 0.0, -0.0, math.nan, math.inf, "", (), [], {}, set(), (1,), [1], ((1,),),
    (1, 1), ("ab", "c"), ("a", "bc"), {"a": 1}, {"a": (1, None)}, {1: "a"}, slice(1, 2), ...,
    np.float32(1), np.float64(1), np.int64(1), np.zeros(2), np.zeros((2, 1)), np.zeros(4, "f4"), np.zeros(2, ">f8"),
    np.array([0.0, -0.0]), np.zeros(2, [("a", "f8")]), np.zeros(2, [("b", "f8")]), np.array(["a"]),
]  # fmt: skip


def test_no_two_values_have_the_same_name():
    names = [digest(value) for value in PLAIN]
    assert len(set(names)) == len(names)
    assert digest(1, 2) != digest((1, 2)) != digest(12)


def test_equal_values_have_the_same_name():
    assert digest(np.arange(6.0)[::2]) == digest(np.array([0.0, 2.0, 4.0]))
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert digest(one) == digest(other)
    assert digest(FitConfig(loss="huber")) == digest(FitConfig.make(loss="huber"))
    assert digest(np.float64(2.5)) == digest(np.array(2.5))


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_every_bit_of_an_array_counts(kind):
    values = np.array([1.0, 1.5], kind)
    names = {digest(values)}
    for byte, bit in itertools.product(range(values.nbytes), range(8)):
        other = values.copy()
        other.view(np.uint8)[byte] ^= 1 << bit
        names.add(digest(other))
    assert len(names) == 1 + 8 * values.nbytes


def job(**changes):
    delay = np.geomspace(1e-4, 1, 20)
    lower, upper = MODELS["single"].box(delay)
    given = {"delay": delay, "model": MODELS["single"], "config": FitConfig(), "lower": lower, "upper": upper}
    return Job(**{**given, **changes})


def test_everything_in_a_job_counts():
    given = job()
    others = [
        job(delay=given.delay * (1 + 1e-15)),
        job(level=np.zeros(20)),
        job(model=MODELS["simple"]),
        job(model=replace(MODELS["single"], name="mine")),
        job(model=replace(MODELS["single"], jacobian=None)),
        job(model=replace(MODELS["single"], parameters=MODELS["simple"].parameters)),
        job(config=FitConfig(loss="huber")),
        job(config=FitConfig(min_products=5)),
        job(config=FitConfig(fixed={"baseline": 1.0})),
        job(config=FitConfig(fixed={"baseline": 1.0 + 1e-15})),
        job(lower=given.lower * 1.1),
        job(upper=given.upper * 1.1),
        job(start=given.lower),
    ]
    names = {digest(partial(fit_block, job=one)) for one in [given, *others]}
    assert len(names) == 1 + len(others)
    assert digest(partial(fit_block, job=given)) == digest(partial(fit_block, job=job()))


def made(text, **names):
    """Make the function `f` of a program, as if in a notebook."""
    module = types.ModuleType("notebook")
    module.__dict__.update(names)
    exec(text, module.__dict__)
    return module.f


BASE = "def f(x, a, b=2.0):\n    return a * np.exp(-x / b)"


def test_a_function_is_what_it_does():
    here = made(BASE, np=np)
    assert digest(here) == digest(made("\n\n" + BASE, np=np))
    for other in (
        BASE.replace("a *", "a +"),
        BASE.replace("2.0", "2.5"),
        BASE.replace("np.exp", "np.cos"),
        BASE.replace("a, b", "c, b").replace("a *", "c *"),
        BASE.replace("x, a", "x, /, a"),
    ):
        assert digest(made(other, np=np)) != digest(here), other


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("def f(x, a): return s * a * x", {"s": 1.0}, {"s": 2.0}),
        ("def f(x, a): return s['k'] * a * x", {"s": {"k": 1.0}}, {"s": {"k": 2.0}}),
        ("def f(x, a): return (lambda y: s * y)(a * x)", {"s": 1.0}, {"s": 2.0}),
        ("def f(x, a): return [s * y for y in x]", {"s": np.zeros(2)}, {"s": np.ones(2)}),
        ("def g(x): return s * x\ndef f(x, a): return g(a * x)", {"s": 1.0}, {"s": 2.0}),
        ("def make(k):\n  def f(x, a): return k * a * x\n  return f\nf = make(s)", {"s": 1.0}, {"s": 2.0}),
        ("def f(x, a, *, k=s): return k * a * x", {"s": 1.0}, {"s": 2.0}),
        ("f = partial(lambda x, a, k: k * a * x, k=s)", {"s": 1.0, "partial": partial}, {"s": 2.0, "partial": partial}),
        ("def f(x, a): return g(a * x)", {"g": np.exp}, {"g": erf}),
        ("def f(x, a): return g(a * x)", {"g": np.exp}, {"g": math.exp}),
    ],
    ids=["global", "in a dict", "inner function", "comprehension", "callee", "closure", "default", "partial", "ufunc",
         "builtin"],
)  # fmt: skip
def test_what_a_function_uses_is_part_of_it(text, old, new):
    assert digest(made(text, **old)) == digest(made(text, **old))
    assert digest(made(text, **old)) != digest(made(text, **new))


def test_functions_may_call_themselves_and_each_other():
    text = "def g(x, n): return f(x, n - 1)\ndef f(x, n): return x if n < 1 else g(x, n) + f(x, n - {})"
    assert digest(made(text.format(2))) == digest(made(text.format(2)))
    assert digest(made(text.format(2))) != digest(made(text.format(3)))


def test_compiled_functions_go_by_what_was_compiled():
    import numba

    one, two = made("def f(x, a): return a * x"), made("def f(x, a): return a + x")
    names = {digest(f) for f in (one, two, numba.njit(one), numba.njit(two), numba.njit(fastmath=True)(one))}
    assert len(names) == 5
    assert digest(numba.njit(one)) == digest(numba.njit(made("def f(x, a): return a * x")))


class Line:
    slope = 2.0

    def __call__(self, x, a):
        return a * x * self.slope


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (Line(), "Line"),
        (Line().__call__, "Line"),
        (made("def f(x, a): return mine.g(x, a)", mine=types.ModuleType("mine")), "mine"),
        (made("def f(x, a):\n  import mine.deep\n  return mine.deep.g(x, a)"), "mine.deep"),
        (made("def f(x, a): return eval('a * x')"), "eval"),
        (made("def f(x, a): return k(x)", k=np.frompyfunc(lambda x: x, 1, 1)), "vectorized"),
        (made("def f(x, a): return k.slope * a * x", k=Line), "Line"),
        (made("def f(x, a): return k * a * x", k=np.array([Line()])), "array of objects"),
        (made("def f(x, a): return k.normal(x, a)", k=np.random.default_rng(0)), "Generator"),
        (made("def f(x, a): return k(x)", k=np.random.default_rng(0).normal), "normal"),
    ],
    ids=["object", "method", "module", "import", "eval", "frompyfunc", "class", "objects", "generator", "its method"],
)
def test_what_could_change_unseen_is_refused(function, what):
    with pytest.raises(NotCacheableError, match=rf"{what}.* could change unseen"):
        digest(Model.from_function(function, ["a"]))


def test_ways_of_computing_count(monkeypatch):
    before = program()
    program.cache_clear()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    try:
        assert program() != before
    finally:
        program.cache_clear()
