"""The compiled double fit: minima against scipy, boxes, bits, units and odd input."""

import numpy as np
import pytest

from tests.fitting.kernel.bench_sets import double_set, single_set
from tests.fitting.kernel.curves import projected_gradient, scipy_best
from xpcs_dask.fitting.kernel import double
from xpcs_dask.fitting.kernel.double import NO_DATA, fit_double
from xpcs_dask.fitting.kernel.single import CONVERGED
from xpcs_dask.fitting.models import DOUBLE

CONTRAST, TAU1, STRETCH1, BASELINE, TAU2, STRETCH2, FRACTION = range(7)


def theta(z):
    value = z.copy()
    value[:, [TAU1, TAU2]] = np.exp(value[:, [TAU1, TAU2]])
    return value


def fit(data, rows=slice(None), lower=None, upper=None, **options):
    return fit_double(
        data.x,
        data.y[rows],
        data.weight[rows],
        data.lower if lower is None else lower,
        data.upper if upper is None else upper,
        **options,
    )


def held(data, **values):
    """Box of the set with some parameters held, or in bounds of their own."""
    lower, upper = data.lower.copy(), data.upper.copy()
    for name, value in values.items():
        k = DOUBLE.index(name)
        lower[k], upper[k] = np.broadcast_to(value, 2)
    return lower, upper


@pytest.fixture(scope="module")
def curves():
    return double_set(60, seed=5)


@pytest.fixture(scope="module")
def found(curves):
    return fit(curves)


@pytest.mark.slow
def test_finds_what_scipy_finds_from_random_starts(curves, found):
    best = np.array(
        [
            scipy_best(DOUBLE, y, s, curves.lower, curves.upper, starts=3, seed=k)[0]
            for k, (y, s) in enumerate(zip(curves.y, curves.sigma, strict=True))
        ]
    )
    thorough = fit(curves, thorough=True)
    assert np.mean(found.chi2 <= best * (1 + 1e-6)) >= 0.95
    assert np.mean(thorough.chi2 <= best * (1 + 1e-6)) >= 0.98
    assert np.all(thorough.chi2 <= found.chi2 * (1 + 1e-6))
    assert thorough.evaluations.sum() > 1.5 * found.evaluations.sum()


def test_what_is_returned_is_a_minimum_and_its_chi2(curves, found):
    value = theta(found.z)
    assert np.all(found.code == CONVERGED)
    assert np.allclose(found.chi2, curves.chi2(value), rtol=1e-7)
    pull = [
        projected_gradient(DOUBLE, y, s, t, curves.lower, curves.upper)
        for y, s, t in zip(curves.y, curves.sigma, value, strict=True)
    ]
    assert np.max(pull) < 1e-3  # the last step is left to the residual form


def test_components_that_noise_hides_take_few_evaluations():
    data = double_set(300, seed=4)
    sigma = 10 * data.sigma
    y = DOUBLE.evaluate(data.x, *data.truth.T[..., None])
    y += sigma * np.random.default_rng(10).standard_normal(y.shape)
    result = fit_double(data.x, y, 1 / sigma, data.lower, data.upper)
    assert result.evaluations.mean() < 47  # steps of Gauss and Newton alone creep, and take 56


def test_the_first_component_is_the_faster(found):
    assert np.all(found.z[:, TAU1] <= found.z[:, TAU2])


def test_recovers_the_truth_where_there_is_hardly_any_noise():
    data = double_set(60, seed=3)
    inside = (data.truth[:, TAU1] > 1e-4) & (data.truth[:, TAU2] < 0.3)
    assert inside.sum() > 15
    rng = np.random.default_rng(0)
    sigma = np.full_like(data.y, 1e-6)
    y = DOUBLE.evaluate(data.x, *data.truth.T[..., None]) + sigma * rng.standard_normal(data.y.shape)
    result = fit_double(data.x, y[inside], 1 / sigma[inside], data.lower, data.upper)
    assert np.allclose(theta(result.z), data.truth[inside], rtol=2e-3)
    assert np.all(result.f_statistic > 1000)


BOXES = {
    "stretch1 and stretch2 held": {"stretch1": 1.0, "stretch2": 1.0},
    "baseline held": {"baseline": 1.0},
    "stretch1 held": {"stretch1": 1.0},
    "contrast held": {"contrast": 0.2},
    "fraction held": {"fraction": 0.5},
    "tau1 held": {"tau1": 1e-3},
    "tau2 held": {"tau2": 1e-2},
    "linear held": {"contrast": 0.2, "baseline": 1.0},
    "narrow stretches": {"stretch1": (0.9, 1.1), "stretch2": (0.9, 1.1)},
    "contrast and baseline at a bound": {"contrast": (0.0, 0.05), "baseline": (1.0, 1.1)},
    "fraction in a part": {"fraction": (0.6, 1.0)},
    "first one slow": {"tau1": (1e-2, 1e2), "tau2": (1e-6, 1e-2)},
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_boxes_and_held_parameters_against_scipy(box):
    data = double_set(6, seed=11)
    lower, upper = held(data, **box)
    result = fit(data, lower=lower, upper=upper, thorough=True)
    value = theta(result.z)
    assert np.all((value >= lower * (1 - 1e-15)) & (value <= upper * (1 + 1e-15)))
    for k in (CONTRAST, BASELINE, STRETCH1, STRETCH2, FRACTION):
        assert np.all((result.z[:, k] >= lower[k]) & (result.z[:, k] <= upper[k]))
    assert np.allclose(result.chi2, data.chi2(value), rtol=1e-6)
    wide = np.where(lower < upper, upper, lower * (1 + 1e-12) + 1e-300)  # scipy wants room
    best = [scipy_best(DOUBLE, y, s, lower, wide, starts=3, seed=1)[0] for y, s in zip(data.y, data.sigma, strict=True)]
    assert np.sum(result.chi2 <= np.array(best) * (1 + 1e-6)) >= 5


def test_labels_follow_the_boxes_where_these_differ(curves, found):
    clear = (found.f_statistic > 300) & (found.z[:, TAU2] - found.z[:, TAU1] > 1.5)
    clear &= np.abs(found.z[:, FRACTION] - 0.5) < 0.4
    assert clear.sum() > 15
    rows = np.flatnonzero(clear)
    for row in rows[:8]:
        middle = np.exp(found.z[row, [TAU1, TAU2]].mean())
        lower, upper = held(curves, tau1=(middle, 1e2), tau2=(1e-6, middle))
        swapped = fit(curves, [row], lower, upper).z[0]
        expected = found.z[row][[CONTRAST, TAU2, STRETCH2, BASELINE, TAU1, STRETCH1, FRACTION]]
        expected[FRACTION] = 1 - expected[FRACTION]
        assert np.allclose(swapped, expected, rtol=1e-3, atol=1e-4)


def test_same_bits_whatever_else_is_in_the_call(curves, found):
    def same(result, rows):
        return all(np.array_equal(a[rows], b, equal_nan=True) for a, b in zip(found, result, strict=True))

    for j in range(len(curves.y)):
        assert same(fit(curves, [j]), [j])
    backwards = np.arange(len(curves.y))[::-1]
    assert same(fit(curves, backwards), backwards)
    assert same(fit(curves, np.arange(1, 60, 7)), np.arange(1, 60, 7))


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_the_unit_of_sigma_does_not_matter(curves, found, unit):
    result = fit_double(curves.x, curves.y, curves.weight / unit, curves.lower, curves.upper)
    assert np.allclose(result.chi2 * unit**2, found.chi2, rtol=1e-7)
    assert np.allclose(result.f_statistic, found.f_statistic, rtol=1e-6)
    assert np.mean(np.all(np.isclose(result.z, found.z, rtol=1e-3, atol=1e-4), axis=1)) > 0.9


def test_the_unit_of_y_does_not_matter(curves, found):
    factor = np.ones(7)
    factor[[CONTRAST, BASELINE]] = 1e6
    result = fit_double(curves.x, 1e6 * curves.y, curves.weight, curves.lower * factor, curves.upper * factor)
    assert np.allclose(result.chi2, 1e12 * found.chi2, rtol=1e-7)
    assert np.allclose(result.z[:, CONTRAST] / 1e6, found.z[:, CONTRAST], rtol=1e-2)


def test_a_point_without_weight_is_not_there(curves):
    clear = np.flatnonzero(fit(curves).f_statistic > 300)
    rng = np.random.default_rng(2)
    gone = rng.random(curves.x.size) < 0.2
    gone[[0, -1]] = False
    y, weight = curves.y[clear].copy(), curves.weight[clear].copy()
    y[:, gone] = np.nan
    y[:, np.flatnonzero(gone)[:2]] = 1e30
    weight[:, gone] = 0
    masked = fit_double(curves.x, y, weight, curves.lower, curves.upper)
    removed = fit_double(curves.x[~gone], y[:, ~gone], weight[:, ~gone], curves.lower, curves.upper)
    assert np.allclose(masked.chi2, removed.chi2, rtol=1e-9)
    assert np.allclose(masked.z, removed.z, rtol=1e-3, atol=1e-4)
    assert np.allclose(masked.f_statistic, removed.f_statistic, rtol=1e-6)


def test_order_spacing_and_number_of_delays_are_free(curves, found):
    clear = np.flatnonzero(found.f_statistic > 300)
    order = np.random.default_rng(1).permutation(curves.x.size)
    mixed = fit_double(
        curves.x[order], curves.y[clear][:, order], curves.weight[clear][:, order], curves.lower, curves.upper
    )
    assert np.allclose(mixed.chi2, found.chi2[clear], rtol=1e-9)
    truth = np.array([0.3, 3.0, 1.0, 1.0, 60.0, 0.8, 0.4])
    for m in (37, 101):
        x = np.linspace(1.0, 200.0, m)
        lower, upper = curves.lower.copy(), curves.upper.copy()
        upper[[TAU1, TAU2]] = 1e4
        y = DOUBLE.evaluate(x, *truth)[None]
        assert np.allclose(theta(fit_double(x, y, np.full_like(y, 1e3), lower, upper).z)[0], truth, rtol=1e-2)


@pytest.mark.parametrize("used", [0, 1, 2, 4, 7, 8])
def test_few_points_do_no_harm(curves, used):
    weight = curves.weight[:3].copy()
    weight[1] = 0
    weight[1, 10 : 10 + used] = curves.weight[1, 10 : 10 + used]
    result = fit_double(curves.x, curves.y[:3], weight, curves.lower, curves.upper)
    alone = fit_double(curves.x, curves.y[[0, 2]], weight[[0, 2]], curves.lower, curves.upper)
    assert np.array_equal(result.z[[0, 2]], alone.z)
    if used == 0:
        assert result.code[1] == NO_DATA
        assert np.isnan(result.z[1]).all()
    else:
        value = theta(result.z[1:2])[0]
        assert np.all(np.isfinite(value) & (value >= curves.lower * 0.999999) & (value <= curves.upper * 1.000001))
        assert np.isfinite(result.chi2[1])
        assert np.isfinite(result.f_statistic[1])


def test_odd_input_does_no_harm(curves):
    x = curves.x.copy()
    x[0] = 0.0
    x[1] = 1e-300
    y = curves.y[:4].copy()
    y[0] = 1.02
    y[1] = 0.0
    y[2] = 1e15
    for thorough in (False, True):
        result = fit_double(x, y, curves.weight[:4], curves.lower, curves.upper, thorough)
        assert np.all(np.isfinite(result.z))
        assert result.chi2[0] < 1e-6
    lower, upper = held(curves, contrast=1e25)  # overflows every score of a start
    absurd = fit(curves, slice(0, 3), lower, upper)
    assert np.all(np.isfinite(absurd.z))
    assert np.array_equal(absurd.z[1], fit(curves, [1], lower, upper).z[0])
    nothing = fit_double(x[:0], y[:, :0], y[:, :0], curves.lower, curves.upper)
    assert np.all(nothing.code == NO_DATA)
    odd = slice(0, 61)
    shorter = fit_double(curves.x[odd], curves.y[:, odd], curves.weight[:, odd], curves.lower, curves.upper)
    masked = curves.weight.copy()
    masked[:, 61:] = 0
    longer = fit_double(curves.x, curves.y, masked, curves.lower, curves.upper)
    assert np.mean(np.isclose(shorter.chi2, longer.chi2, rtol=1e-6)) > 0.85
    assert fit_double(x, y[:0], y[:0], curves.lower, curves.upper).z.shape == (0, 7)


def test_bounds_may_be_infinite(curves, found):
    lower, upper = curves.lower.copy(), curves.upper.copy()
    lower[[CONTRAST, BASELINE]] = -np.inf
    upper[[CONTRAST, BASELINE, TAU1, TAU2]] = np.inf
    lower[[TAU1, TAU2]] = 0.0
    result = fit(curves, lower=lower, upper=upper, thorough=True)
    assert np.all(np.isfinite(result.z))
    assert np.mean(result.chi2 <= found.chi2 * (1 + 1e-6)) > 0.95


def test_a_start_is_tried_besides_the_others():
    data = double_set(400, seed=0)
    fast, best = fit(data), fit(data, thorough=True)
    missed = np.flatnonzero(fast.chi2 > best.chi2 * (1 + 1e-5))
    assert missed.size
    start = np.full((len(data.y), 5), np.nan)
    start[missed] = best.z[missed][:, [TAU1, STRETCH1, TAU2, STRETCH2, FRACTION]]
    helped = fit(data, start=start)
    assert np.all(helped.chi2[missed] <= best.chi2[missed] * (1 + 1e-6))
    rest = np.setdiff1d(np.arange(len(data.y)), missed)
    assert np.array_equal(helped.z[rest], fast.z[rest])


def test_f_tells_one_decay_from_two(curves, found):
    one = single_set(60, seed=5)
    alone = fit_double(one.x, one.y, one.weight, curves.lower, curves.upper)
    assert np.median(alone.f_statistic) < 12
    inside = curves.truth[:, TAU1] > 1e-4
    assert np.median(found.f_statistic[inside]) > 100


def test_an_overwhelming_second_component_gets_one_start(curves, found, monkeypatch):
    overwhelming = found.f_statistic > 300
    assert 20 < overwhelming.sum() < 55
    monkeypatch.setattr(double, "QUICK", ((double.PAIR, double.ALWAYS),))
    one_start = fit(curves)
    assert np.array_equal(found.evaluations[overwhelming], one_start.evaluations[overwhelming])
    assert np.mean(found.evaluations[~overwhelming] > one_start.evaluations[~overwhelming]) > 0.8
    assert np.all(found.chi2 <= one_start.chi2)


def test_the_same_curve_thrice(curves):
    twice = fit(curves, [7, 7, 7])
    assert np.array_equal(twice.z[0], twice.z[1])
    assert np.array_equal(twice.z[0], twice.z[2])


@pytest.mark.parametrize("seed", [0, 1])
def test_truth_of_the_benchmark_set_is_its_truth(seed):
    data = double_set(500, seed)
    chi2 = data.chi2(data.truth)
    assert np.mean(chi2) == pytest.approx(64, rel=0.05)
    assert np.all(fit(data).chi2 < chi2 * (1 + 1e-9))
    assert np.array_equal(double_set(500, seed).y, data.y)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_share_of_best_known_minima(seed):
    data = double_set(800, seed)
    fast, thorough = fit(data), fit(data, thorough=True)
    best = np.minimum(fast.chi2, thorough.chi2)
    rng = np.random.default_rng(seed + 100)
    u = np.log(data.x)
    for _ in range(60):
        n = len(data.y)
        start = [
            *(rng.uniform(u[0] - 0.5, u[-1] + 1, n), rng.uniform(0.3, 3, n)),
            *(rng.uniform(u[0] - 0.5, u[-1] + 1, n), rng.uniform(0.3, 3, n), rng.uniform(0.02, 0.98, n)),
        ]
        best = np.minimum(best, fit(data, start=np.stack(start, axis=1)).chi2)
    assert np.mean(fast.chi2 <= best * (1 + 1e-6)) >= 0.97
    assert np.mean(thorough.chi2 <= best * (1 + 1e-6)) >= 0.99
