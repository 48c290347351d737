"""Steps inside a box: exact minima of small quadratic problems with bounds."""

from __future__ import annotations

from xpcs_dask.fitting.kernel.compiled import compiled

PIVOT = 1e-14
"""A pivot smaller than this share of its diagonal is singular; it is raised to it."""


@compiled
def linear_box(ee, e1, ww, ey, wy, contrast_low, contrast_high, baseline_low, baseline_high):
    """Best contrast and baseline in their box for a fixed decay.

    Minimises ``contrast^2 ee + 2 contrast baseline e1 + baseline^2 ww - 2 contrast ey - 2 baseline wy`` from the
    weighted sums of decay*decay, decay, 1, decay*y and y. A corner or edge is tried only where the free minimum is
    outside.

    Returns contrast, baseline, that minimum, and whether each is free (not held by its bound).
    """
    det = ee * ww - e1 * e1
    if det > 1e-13 * ee * ww and contrast_high > contrast_low and baseline_high > baseline_low:
        a = (ey * ww - wy * e1) / det
        d = (wy * ee - ey * e1) / det
        if contrast_low <= a <= contrast_high and baseline_low <= d <= baseline_high:
            return a, d, -a * ey - d * wy, True, True
    best = 1e300
    best_a = contrast_low
    best_d = baseline_low
    best_fa = False
    best_fd = False
    for edge in range(4):
        if edge < 2:
            a = contrast_low if edge == 0 else contrast_high
            free = (wy - a * e1) / ww
            d = min(max(free, baseline_low), baseline_high)
            fa = False
            fd = free == d and baseline_high > baseline_low
        else:
            d = baseline_low if edge == 2 else baseline_high
            free = (ey - d * e1) / ee if ee > 0.0 else contrast_low
            a = min(max(free, contrast_low), contrast_high)
            fd = False
            fa = free == a and contrast_high > contrast_low
        value = a * a * ee + 2.0 * a * d * e1 + d * d * ww - 2.0 * a * ey - 2.0 * d * wy
        if value < best:
            best = value
            best_a = a
            best_d = d
            best_fa = fa
            best_fd = fd
    return best_a, best_d, best, best_fa, best_fd


@compiled
def plane_step(g0, g1, h00, h01, h11, damp0, damp1, z0, z1, low0, high0, low1, high1):
    """Minimiser of ``s'(H + damp)s - 2 g's`` with ``z + s`` in its 2-D box: the free one, or the best edge."""
    a00 = h00 + damp0
    a11 = h11 + damp1
    det = a00 * a11 - h01 * h01
    if det > PIVOT * a00 * a11:
        s0 = (g0 * a11 - g1 * h01) / det
        s1 = (g1 * a00 - g0 * h01) / det
        if low0 <= z0 + s0 <= high0 and low1 <= z1 + s1 <= high1:
            return s0, s1
    best = 1e300
    best0 = 0.0
    best1 = 0.0
    for edge in range(4):
        if edge < 2:
            s0 = (low0 if edge == 0 else high0) - z0
            s1 = (g1 - h01 * s0) / a11 if a11 > 0.0 else 0.0
            s1 = min(max(s1, low1 - z1), high1 - z1)
        else:
            s1 = (low1 if edge == 2 else high1) - z1
            s0 = (g0 - h01 * s1) / a00 if a00 > 0.0 else 0.0
            s0 = min(max(s0, low0 - z0), high0 - z0)
        value = a00 * s0 * s0 + 2.0 * h01 * s0 * s1 + a11 * s1 * s1 - 2.0 * g0 * s0 - 2.0 * g1 * s1
        if value < best:
            best = value
            best0 = s0
            best1 = s1
    return best0, best1


@compiled
def free_solve(H, damping, g, s, free, n, L, out):
    """Solve ``(H + damping) out = g`` for the free rows, with ``out = s`` in the others (Cholesky, unit lower factor).

    A negative pivot (H need not be positive away from a minimum) counts with its absolute value: still downhill.
    """
    for i in range(n):
        right = s[i]
        if free[i]:
            right = g[i]
            for j in range(n):
                if not free[j]:
                    right -= H[i, j] * s[j]
        for j in range(i):
            element = H[i, j] if (free[i] and free[j]) else 0.0
            for k in range(j):
                element -= L[i, k] * L[j, k] * L[k, k]
            L[i, j] = element / L[j, j]
            right -= L[i, j] * out[j]
        pivot = H[i, i] + damping[i] if free[i] else 1.0
        floor = PIVOT * pivot + 1e-300
        for k in range(i):
            pivot -= L[i, k] * L[i, k] * L[k, k]
        L[i, i] = max(abs(pivot), floor)
        out[i] = right
    for i in range(n - 1, -1, -1):
        value = out[i] / L[i, i]
        for j in range(i + 1, n):
            value -= L[j, i] * out[j]
        out[i] = value


@compiled
def box_step(H, g, damping, z, lower, upper, n, step, free, L, trial):
    """Minimiser of ``s'(H + damping)s - 2 g's`` with ``z + s`` in its box, and the predicted decrease ``2 g's - s'Hs``.

    Primal active set: the first blocking bound is added, then the worst multiplier is released. (Clipping all violators
    at once, without release, gives steps that are no minima, and a predicted decrease <= 0 that looks like
    convergence.) `step` receives the step, `free` (int8) the rows not held at a bound; `damping` is added to the
    diagonal.
    """
    held = 0
    for k in range(n):
        step[k] = 0.0
        free[k] = 1
        if upper[k] <= lower[k] or (z[k] <= lower[k] and g[k] <= 0.0) or (z[k] >= upper[k] and g[k] >= 0.0):
            free[k] = 0
            held += 1
    for _ in range(4 * n):
        free_solve(H, damping, g, step, free, n, L, trial)
        blocked = -1
        share = 1.0
        wall = 0.0
        for i in range(n):
            if free[i]:
                target = z[i] + trial[i]
                if target < lower[i] or target > upper[i]:
                    bound = (lower[i] if target < lower[i] else upper[i]) - z[i]
                    t = (bound - step[i]) / (trial[i] - step[i])
                    if blocked < 0 or t < share:
                        share = min(max(t, 0.0), 1.0)
                        blocked = i
                        wall = bound
        for i in range(n):
            if free[i]:
                step[i] += share * (trial[i] - step[i])
        if blocked >= 0:
            step[blocked] = wall
            free[blocked] = 0
            held += 1
            continue
        if held == 0:
            break
        worst = _worst_multiplier(H, g, damping, z, lower, upper, n, step, free)
        if worst < 0:
            break
        free[worst] = 1
        held -= 1
    decrease = 0.0
    for i in range(n):
        t = 2.0 * g[i]
        for j in range(n):
            t -= H[i, j] * step[j]
        decrease += step[i] * t
    return decrease


@compiled
def _worst_multiplier(H, g, damping, z, lower, upper, n, step, free):
    """Held row whose release would lower the quadratic most; -1 where none would, beyond rounding."""
    worst = -1
    most = 0.0
    total = 0.0
    for i in range(n):
        total += g[i] * step[i]
        if free[i] or upper[i] <= lower[i]:
            continue
        pull = g[i] - damping[i] * step[i]
        for j in range(n):
            pull -= H[i, j] * step[j]
        if z[i] + step[i] >= upper[i]:
            pull = -pull
        elif z[i] + step[i] > lower[i]:
            pull = 0.0
        if pull > 0.0:
            gain = pull * pull / (H[i, i] + damping[i] + 1e-300)
            if gain > most:
                most = gain
                worst = i
    return worst if most > 1e-10 * total else -1
