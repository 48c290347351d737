import numba
import numpy as np

from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.exp import estrin_exp, near_exp, vexp, vlog


@compiled
def exponentials(x, out):
    for i in range(x.size):
        out[i] = vexp(x[i])


@compiled
def near_exponentials(x, out):
    for i in range(x.size):
        out[i] = near_exp(x[i])


def evaluate(x):
    out = np.empty_like(x)
    exponentials(x, out)
    return out


def test_agrees_with_numpy_over_the_whole_range():
    x = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-1e-3, 1e-3, 1001)])
    np.testing.assert_allclose(evaluate(x), np.exp(x), rtol=1e-14)


@compiled
def exponentials_in_pairs(x, out):
    for i in range(x.size):
        out[i] = estrin_exp(x[i])


def test_terms_in_pairs_give_the_same():
    x = np.concatenate([np.linspace(-700, 700, 20_001), np.linspace(-1e-3, 1e-3, 1001)])
    out = np.empty_like(x)
    exponentials_in_pairs(x, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=1e-14)


def test_the_quick_one_is_good_to_ten_digits():
    x = np.linspace(-700, 700, 20_001)
    out = np.empty_like(x)
    near_exponentials(x, out)
    np.testing.assert_allclose(out, np.exp(x), rtol=4e-10)
    assert np.max(np.abs(out / np.exp(x) - 1)) > 1e-12  # else it could be shorter


def test_clamps_instead_of_overflowing():
    ends = evaluate(np.array([-1e300, -709.0, 710.0, 1e300]))
    assert np.all(np.isfinite(ends))
    assert np.all(ends[:2] < 1e-307)
    assert np.all(ends[2:] > 1e307)


def test_is_vectorised():
    fresh = numba.jit(exponentials.py_func, **exponentials.targetoptions)  # what the cache holds cannot be inspected
    fresh(np.zeros(4), np.zeros(4))
    code = "".join(fresh.inspect_asm().values())
    assert "vfmadd" in code or "mulpd" in code or "fmla" in code


@compiled
def logarithms(x, out):
    for i in range(x.size):
        out[i] = vlog(x[i])


def test_logarithm_agrees_with_numpy():
    rng = np.random.default_rng(0)
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 50_000)), rng.uniform(0.5, 2.0, 50_000), [1.0, 1e-300, 1e300]])
    found, expected = np.empty_like(x), np.log(x)
    logarithms(x, found)
    assert np.all(np.abs(found - expected) <= 1e-15 * np.maximum(1.0, np.abs(expected)))
