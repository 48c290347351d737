"""Scores of starts and the reduced problem of the double fit, against plain linear algebra and differences."""

import numpy as np
import pytest

from tests.fitting.kernel.bench_sets import double_set
from xpcs_dask.fitting.kernel import double_newton as newton
from xpcs_dask.fitting.kernel import double_pairs as pairs
from xpcs_dask.fitting.kernel import double_pass as one_pass
from xpcs_dask.fitting.kernel import double_products as products_of
from xpcs_dask.fitting.kernel import double_refine as refine
from xpcs_dask.fitting.kernel import double_search as search
from xpcs_dask.fitting.kernel import double_starts as starts

LN_TAU_BOX, STRETCH_BOX = (np.log(1e-6), np.log(1e2)), (0.2, 3.0)


@pytest.fixture(scope="module")
def data():
    return double_set(4, seed=2)


@pytest.fixture(scope="module")
def table(data):
    return pairs.start_table(np.log(data.x), data.x.size, LN_TAU_BOX, STRETCH_BOX)


@pytest.fixture(scope="module")
def loaded(data, table):
    """One curve in its own units, its sums over the table, and its linear box."""
    curve, sums, linear = np.zeros((5, data.x.size)), np.zeros(3), np.zeros(4)
    curve[products_of.U] = np.log(data.x)
    search.load(data.y[1], data.weight[1], data.lower, data.upper, curve, sums, linear)
    s, sy = (np.empty(p.shape[1], np.float32) for p in (table.products, table.products_y))
    pairs.sum_table(curve, table.products, table.products_y, s, sy)
    return curve, sums, linear, s, sy


def decay(u, ln_tau, stretch):
    return np.exp(-np.exp(stretch * (u - ln_tau)))


def chi2_at_best(curve, g1, linear, baseline=None):
    """Chi2 less that of y alone, contrast in its box and baseline free (or held)."""
    w = curve[products_of.W]
    square = g1**2
    y = curve[products_of.Y] - (baseline or 0.0)

    def chi2(a):
        r = y - a * square
        d = np.average(r, weights=w**2) if baseline is None else 0.0
        return np.sum((w * (r - d)) ** 2)

    mean = np.average(square, weights=w**2) if baseline is None else 0.0
    slope = np.sum(w**2 * (square - mean) * y) / np.sum(w**2 * (square - mean) ** 2)
    a = np.clip(slope, linear[0], linear[1])
    return chi2(a) - np.sum((w * y) ** 2)


def test_a_loaded_curve_has_units_of_its_own(data, loaded):
    curve, sums, linear, _, _ = loaded
    used, scale, mean, size = search.load(
        data.y[1], data.weight[1], data.lower, data.upper, curve.copy(), sums.copy(), linear.copy()
    )
    assert used == 64
    assert np.mean(curve[products_of.WEIGHT]) == pytest.approx(1)
    assert np.allclose(curve[products_of.W] ** 2, curve[products_of.WEIGHT])
    assert np.allclose(curve[products_of.WY], curve[products_of.W] * curve[products_of.Y])
    assert np.allclose(sums, [64, 0, 64], atol=1e-9)
    assert np.allclose(curve[products_of.Y] * size + mean, data.y[1])
    assert np.allclose(curve[products_of.WEIGHT] * scale, data.weight[1] ** 2)
    assert np.allclose(linear * size, [0, 1, 0.9 - mean, 1.1 - mean])


def test_a_table_covers_the_delays_inside_the_box_whatever_the_padding(data, table):
    u = np.log(data.x)
    padded = pairs.start_table(u, 72, LN_TAU_BOX, STRETCH_BOX)
    assert np.array_equal(padded.ln_tau, table.ln_tau)
    assert np.array_equal(padded.products[:64], table.products)
    assert not padded.products[64:].any()
    assert not padded.products_y[64:].any()
    assert not padded.sharp[:, 64:].any()
    assert table.ln_tau[[0, -1]] == pytest.approx([u[0] - 0.5, u[-1] + 1.5])
    small = pairs.start_table(u, 64, (-3.0, -1.0), (0.5, 1.0))
    assert small.ln_tau[[0, -1]] == pytest.approx([-3, -1])
    assert small.sharp_ln_tau[[0, -1]] == pytest.approx([-3, -1])
    assert small.stretch == small.sharp_stretch == 1.0
    held = pairs.start_table(u, 64, (-3.0, -3.0), (1.0, 1.0))
    assert np.all(np.diff(held.ln_tau) > 0)


@pytest.mark.parametrize("baseline", [None, 0.3])
def test_pairs_are_scored_by_their_chi2(loaded, table, baseline):
    curve, sums, linear, s, sy = loaded
    linear = linear.copy()
    if baseline is not None:
        linear[2:] = baseline
    score = np.empty(pairs.N_PAIRS, np.float32)
    pairs.score_pairs(sums, linear, s, sy, score)
    first, second = np.triu_indices(pairs.N_PAIR_NODES, 1)
    for pair in range(0, pairs.N_PAIRS, 7):
        e1, e2 = (decay(curve[0], table.ln_tau[k[pair]], table.stretch) for k in (first, second))
        expected = min(chi2_at_best(curve, f * e1 + (1 - f) * e2, linear, baseline) for f in pairs.PAIR_FRACTIONS)
        assert score[pair] == pytest.approx(expected, abs=3e-3 * 64)


def test_proposed_pairs_are_the_best_and_never_neighbours(loaded, table):
    curve, sums, linear, s, sy = loaded
    score = np.empty(pairs.N_PAIRS, np.float32)
    pairs.score_pairs(sums, linear, s, sy, score)
    first, second = np.triu_indices(pairs.N_PAIR_NODES, 1)
    used, z = [], np.empty(5)
    while True:
        best = np.argmin(score)
        if not pairs.propose_pair(sums, linear, table.ln_tau, table.stretch, s, sy, score, z):
            break
        i, j = first[best], second[best]
        assert z[0] == table.ln_tau[i]
        assert z[2] == table.ln_tau[j]
        assert z[1] == z[3] == table.stretch
        e1, e2 = decay(curve[0], z[0], z[1]), decay(curve[0], z[2], z[3])
        chi2 = [chi2_at_best(curve, f * e1 + (1 - f) * e2, linear) for f in pairs.FINE_FRACTIONS]
        here = chi2_at_best(curve, z[4] * e1 + (1 - z[4]) * e2, linear)
        assert here <= min(chi2) + 3e-3 * 64
        assert all(max(abs(i - a), abs(j - b)) > 2 for a, b in used)
        used.append((i, j))
    assert len(used) > 5


def test_the_best_single_node(loaded, table):
    curve, sums, linear, s, sy = loaded
    chi2 = [chi2_at_best(curve, decay(curve[0], t, table.stretch), linear) for t in table.ln_tau]
    assert pairs.best_single_node(sums, linear, s, sy) == np.argmin(chi2)


def test_bumps_are_scored_by_the_gain_of_a_linear_fit(loaded, table):
    curve, *_ = loaded
    a, ln_tau, stretch, d = 2.5, -4.0, 0.6, -0.8
    score = np.empty((2, len(table.sharp)))
    starts.score_bumps(curve, table.sharp, a, ln_tau, stretch, d, score)
    u, w = curve[products_of.U], curve[products_of.W]
    h = 1e-5

    def model(a, ln_tau, stretch, d):
        return a * decay(u, ln_tau, stretch) ** 2 + d

    here = np.array([a, ln_tau, stretch, d])
    J = np.stack([(model(*(here + h * e)) - model(*(here - h * e))) / (2 * h) for e in np.eye(4)], axis=1)
    r = w * (curve[products_of.Y] - model(*here))
    e = decay(u, ln_tau, stretch)
    inside = 0
    for k, sharp in enumerate(table.sharp):
        column = 2 * a * e * (sharp - e)
        with_it = np.linalg.lstsq(w[:, None] * np.column_stack([J, column]), r)
        without = np.linalg.lstsq(w[:, None] * J, r)
        size = with_it[0][-1]
        if 0.01 < size < 0.99:
            inside += 1
            gain = np.sum((r - w * (J @ without[0])) ** 2) - np.sum(
                (r - w * (np.column_stack([J, column]) @ with_it[0])) ** 2
            )
            assert score[starts.SIZE, k] == pytest.approx(size, rel=1e-4)
            assert score[starts.GAIN, k] == pytest.approx(gain, rel=1e-3)
        elif size < -0.01:
            assert score[starts.GAIN, k] == 0
    assert inside >= 4
    z = np.empty(5)
    best = np.argmax(score[starts.GAIN])
    assert starts.propose_bump(table.sharp_ln_tau, table.sharp_stretch, ln_tau, stretch, score, z)
    assert z[:4].tolist() == [ln_tau, stretch, table.sharp_ln_tau[best], table.sharp_stretch]
    assert 0.5 <= z[4] <= 0.97
    assert np.all(score[starts.GAIN, max(best - 2, 0) : best + 3] == 0)


def test_swaps_are_scored_by_their_chi2(loaded, table):
    curve, sums, linear, _, _ = loaded
    best = np.array([-6.0, 1.1, -2.5, 0.8, 0.4])
    score, fraction = np.empty((2, len(table.sharp))), np.empty((2, len(table.sharp)))
    starts.score_swaps(curve, sums, linear, table.sharp_ln_tau, table.sharp, best, score, fraction)
    for side, (kept, replaced) in enumerate([(best[:2], best[2]), (best[2:4], best[0])]):
        e = decay(curve[0], *kept)
        for k in range(0, len(table.sharp), 3):
            if abs(table.sharp_ln_tau[k] - replaced) < starts.SAME_TAU:
                assert score[side, k] == starts.STRUCK
                continue
            chi2 = [chi2_at_best(curve, f * e + (1 - f) * table.sharp[k], linear) for f in starts.SWAP_FRACTIONS]
            assert score[side, k] == pytest.approx(min(chi2), rel=1e-9)
            assert fraction[side, k] == starts.SWAP_FRACTIONS[np.argmin(chi2)]
    side, node = np.unravel_index(np.argmin(score), score.shape)
    z = np.empty(5)
    assert starts.propose_swap(table.sharp_ln_tau, table.sharp_stretch, best, score, fraction, z)
    assert z[:2].tolist() == best[2 * side : 2 * side + 2].tolist()
    assert z[2] == table.sharp_ln_tau[node]
    assert score[side, node] == starts.STRUCK


@pytest.mark.parametrize("linear_box", [(0.0, 1e9, -1e9, 1e9), (0.0, 0.5, -1e9, 1e9), (0.0, 1e9, 0.2, 0.2)])
def test_gradient_and_hessian_of_the_reduced_problem(loaded, linear_box):
    curve, sums, *_ = loaded
    linear = np.array(linear_box)
    z = np.array([-6.5, 1.1, -2.5, 0.8, 0.4])
    E, rows, products = np.empty((4, 64)), np.empty((6, 64)), np.empty((6, 8))

    def chi2(z):
        return one_pass.evaluate(curve, sums, linear, z, E, rows, products)[2]

    numeric = [(chi2(z + h) - chi2(z - h)) / 2e-5 for h in 1e-5 * np.eye(5)]
    a, d, value, free_a, free_d = one_pass.evaluate(curve, sums, linear, z, E, rows, products)
    H, g, Q = np.empty((5, 5)), np.empty(5), np.zeros((5, 5))
    scratch = np.empty(5), np.empty((2, 5))
    newton.newton_problem(products, Q, sums[0], a, d, free_a, free_d, 0.0, H, g, *scratch)
    assert np.allclose(-2 * g, numeric, rtol=1e-5, atol=1e-4)
    w = curve[products_of.W]
    assert value == pytest.approx(np.sum((w * (curve[products_of.Y] - d) - a * rows[0]) ** 2))
    J = a * rows[1:].T
    columns = [c for c, free in ((rows[0], free_a), (w, free_d)) if free]
    if columns:
        Q, _ = np.linalg.qr(np.stack(columns, axis=1))
        J = J - Q @ (Q.T @ J)
    assert np.allclose(H, J.T @ J, rtol=1e-8, atol=1e-8)


def test_known_minima_are_recognised_under_both_labels():
    minima = np.zeros((2, 9))
    minima[0, :5] = [-6.0, 1.0, -2.0, 0.7, 0.3]
    z, step = np.array([-1.9, 0.7, -6.0, 1.0, 0.7]), np.array([-0.1, 0.0, 0.0, 0.0, 0.0])
    assert refine.known_minimum(z, step, minima, 1, True)
    assert not refine.known_minimum(z, step, minima, 1, False)
    assert not refine.known_minimum(z, 2 * step, minima, 1, True)
    straight = minima[0, :5].copy()
    assert refine.known_minimum(straight, np.zeros(5), minima, 1, False)
    assert not refine.known_minimum(straight, np.zeros(5), minima, 0, False)


def test_minima_disagree_only_where_both_converged():
    minima = np.zeros((3, 9))
    minima[:, search.CHI2] = 5.0, 5.000001, 9.0
    minima[:, search.CODE] = 1, 1, 0
    sums = np.array([64.0, 0.0, 64.0])
    assert not search.starts_disagree(minima, np.array([3, 0, 0]), sums)
    minima[2, search.CODE] = 1
    assert search.starts_disagree(minima, np.array([3, 0, 0]), sums)
    assert not search.starts_disagree(minima, np.array([2, 0, 0]), sums)


def test_hopeless_and_repeated_starts_are_cut_short():
    minima = np.zeros((1, 9))
    z, step = minima[0, :5].copy(), np.zeros(5)
    cases = {(20.0, 1.0, 1e-3): refine.HOPELESS, (14.0, 1.0, 1e-3): 0, (20.0, 1.0, 1.0): 0}
    for (chi2, predicted, damp), code in cases.items():
        far = z + 1.0
        assert refine.cut_short(far, step, predicted, chi2, damp, 10.0, minima, 1, True) == code
    assert refine.cut_short(z, step, 0.01, 10.05, 1.0, 10.0, minima, 1, True) == refine.REPEATED
    assert refine.cut_short(z, step, 0.01, 9.99, 1.0, 10.0, minima, 1, True) == 0  # better than the known one: go on
