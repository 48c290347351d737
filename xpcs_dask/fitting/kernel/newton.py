"""Compiled damped Newton in all parameters, residual form, any loss: from near a minimum to the minimum."""

from __future__ import annotations

from xpcs_dask.fitting.kernel.box import box_step
from xpcs_dask.fitting.kernel.columns import SINGLE_SIZE, weighted_columns
from xpcs_dask.fitting.kernel.compiled import compiled
from xpcs_dask.fitting.kernel.curvature import double_curvature, single_curvature
from xpcs_dask.fitting.kernel.losses import LINEAR, apply_loss
from xpcs_dask.fitting.kernel.single import CONVERGED, EXHAUSTED, STALLED

CONFIRMED = 1e-13
"""Predicted decrease, over chi2, below which the last step is taken without another evaluation."""
ROUNDED = 1e-10
"""The same where a step fails only because the cost is known no better."""
LEVEL = 1e-8
"""The same for the Gauss-Newton step, where the exact Hessian sees nothing to gain: it may be no minimum but a saddle
(the square of `optimality.OFFSET`)."""
ROUNDING_ERROR = 2e-31
"""Squared relative rounding of a residual: a cost below it cannot be lowered."""
FREE_STEP = 1e-4
"""Longest step that is taken without an evaluation: in a flat valley one that gains nothing may be long."""
DARING = 0.1
"""Rise of the cost, as a share of it, that one step may make on the way to a lower point."""
SMALL_DAMPING = 1e-6
"""Damping that does not shorten a step."""
MAX_PASSES = 1000
"""Long narrow valleys take hundreds; nine of ten fits take a few."""


@compiled
def normal_equations(J, r, p, H, g):
    """``H = J J'`` and ``g = J r``, two rows at a time; returns r'r."""
    square = 0.0
    for i in range(r.size):
        square += r[i] * r[i]
    for k in range(p):
        total = 0.0
        for i in range(r.size):
            total += J[k, i] * r[i]
        g[k] = total
    for k in range(0, p, 2):
        for j in range(k, p, 2):
            h00 = h01 = h10 = h11 = 0.0
            for i in range(r.size):
                a = J[k, i]
                b = J[k + 1, i]
                c = J[j, i]
                d = J[j + 1, i]
                h00 += a * c
                h01 += a * d
                h10 += b * c
                h11 += b * d
            H[k, j] = h00
            H[k, j + 1] = h01
            H[k + 1, j] = h10
            H[k + 1, j + 1] = h11
            H[j, k] = h00
            H[j + 1, k] = h01
            H[j, k + 1] = h10
            H[j + 1, k + 1] = h11
    return square


@compiled
def evaluate(u, y, w, z, p, loss, scale, J, r, first, second, H, g):
    """Cost, half gradient (downhill) and Gauss-Newton Hessian at z."""
    weighted_columns(u, y, w, z, p, J, r)
    if loss == LINEAR:
        return normal_equations(J, r, p, H, g)
    cost = apply_loss(loss, scale, r, J, p, first, second)
    normal_equations(J, r, p, H, g)
    return cost


@compiled
def newton_matrix(u, w, z, p, loss, r, second, H, pull, N):
    """Fill N with H less the curvature of the model; r, second and H as `evaluate` left them at z."""
    for i in range(u.size):
        pull[i] = w[i] * r[i] if loss == LINEAR else w[i] * r[i] * second[i]
    if p == SINGLE_SIZE:
        single_curvature(u, z, pull, N)
    else:
        double_curvature(u, z, pull, N)
    for k in range(p):
        for i in range(p):
            N[k, i] = H[k, i] - N[k, i]


@compiled
def rounding_floor(y, w, mean, baseline):
    """Cost of an exact fit: what rounding of y leaves."""
    total = 0.0
    for i in range(y.size):
        level = w[i] * (abs(y[i]) + abs(mean) + abs(baseline))
        total += level * level
    return total * ROUNDING_ERROR


@compiled
def copy_point(z, g, H, N, p, z_to, g_to, H_to, N_to):
    """Copy a point with its gradient and its two matrices."""
    for k in range(p):
        z_to[k] = z[k]
        g_to[k] = g[k]
        for i in range(p):
            H_to[k, i] = H[k, i]
            N_to[k, i] = N[k, i]


@compiled
def move(z, step, free, lower, upper, p):
    """Turn a step into the point it leads to, in the box.

    What a double curve shows are the amplitudes ``sqrt(contrast) fraction`` and ``sqrt(contrast) (1 - fraction)``:
    where one component lies mostly outside the delays, valleys are straight in them and sharply bent in contrast
    and fraction. So those two move along the line that is straight in the amplitudes, which begins with the same step.
    """
    share = 1.0
    if p != SINGLE_SIZE and free[0] and free[6] and z[0] != 0.0:
        share = 1.0 + 0.5 * step[0] / z[0]
        if not 0.2 < share < 5.0:
            share = 1.0
        else:
            step[0] = z[0] * (share * share - 1.0)
            step[6] /= share
    for k in range(p):
        step[k] = min(max(z[k] + step[k], lower[k]), upper[k])


@compiled
def fill_damping(H, N, damp, p, damping):
    """Damping of each parameter: its own curvature, or its coupling to stiffer ones where it has none (contrast 0)."""
    for k in range(p):
        size = H[k, k]
        for i in range(p):
            if H[i, i] > H[k, k]:
                size = max(size, N[k, i] * N[k, i] / H[i, i])
        damping[k] = damp * size


@compiled
def single_gain(H, g, z, lower, upper, p):
    """Largest decrease that Gauss-Newton predicts for moving one parameter alone inside the box."""
    most = 0.0
    for k in range(p):
        if H[k, k] > 0.0:
            move_k = min(max(g[k] / H[k, k], lower[k] - z[k]), upper[k] - z[k])
            most = max(most, move_k * (2.0 * g[k] - H[k, k] * move_k))
    return most


@compiled
def is_indefinite(N, damping, L, free, p):
    """Whether `box_step`, which left its factor in L, met a negative pivot."""
    negative = False
    for i in range(p):
        pivot = N[i, i] + damping[i]
        for k in range(i):
            pivot -= L[i, k] * L[i, k] * L[k, k]
        negative = negative or (free[i] and pivot < 0.0)
    return negative


@compiled
def next_step(z, g, H, N, cost, rounding, damp, refused, exact, lower, upper, p, damping, step, free, L, trial):
    """Fill the step from z; returns its predicted decrease, the damping, if nothing is left to gain, if it is Newton's.

    A step that gains nothing may only be damped too much: it is made again with less, down to what was `refused`. And
    a Hessian that is not positive may hide a saddle, its negative directions counting as steep: there Gauss-Newton
    has to agree, else its step is taken.
    """
    least = max(SMALL_DAMPING, 2.0 * refused)
    newton = exact
    while True:
        fill_damping(H, N, damp, p, damping)
        predicted = box_step(N, g, damping, z, lower, upper, p, step, free, L, trial)
        settled = predicted <= CONFIRMED * cost
        if exact and not newton and damp <= least:
            settled = predicted <= LEVEL * cost and single_gain(H, g, z, lower, upper, p) <= CONFIRMED * cost
        settled = settled or cost <= rounding
        if settled and damp > least:
            damp = max(damp * 1e-3, least)
        elif settled and newton and is_indefinite(N, damping, L, free, p):
            for k in range(p):
                for i in range(p):
                    N[k, i] = H[k, i]
            newton = False
        else:
            return predicted, damp, settled, newton


@compiled
def new_damping(damp, actual, predicted):
    """Less where the quadratic was right, more where it promised too much (Nielsen, IMM-REP-1999-05, 1999)."""
    gain = 2.0 * actual / predicted - 1.0
    return damp * max(0.1, 1.0 - gain * gain * gain) if gain > -0.5 else max(damp * 2.0, SMALL_DAMPING)


@compiled
def confirm(u, y, w, mean, z, p, lower, upper, loss, scale, space):
    """Damped Newton to the minimum from z (changed in place); returns cost, evaluations, code.

    The first step is Gauss-Newton: after variable projection it is only there to say that nothing is left to gain.
    Later ones use the exact Hessian; where the first step was refused, z is evaluated once more for it. A step that
    ends a little higher is not refused at once: in a bent valley it landed on the slope, and the next one leads down
    to the floor, further along than any step that never climbs. If that is not lower, the search returns home. The H
    of `space` ends as the Gauss-Newton Hessian. (There is one call of `evaluate`, because every call is inlined and
    compiled.)
    """
    J, r, first, second, pull, H, H2, N, L, home_H, home_N, g, g2, damping, step, trial, home_z, home_g, free = space
    rounding = rounding_floor(y, w, mean, z[3])
    cost = home = 1e300
    predicted = home_predicted = 0.0
    damp = 0.0 if loss == LINEAR else 1e-3
    growth = 2.0
    refused = 0.0
    exact = away = False
    for k in range(p):
        step[k] = z[k]
    for evaluations in range(1, MAX_PASSES + 1):
        new = evaluate(u, y, w, step, p, loss, scale, J, r, first, second, H2, g2)
        down = new < home
        dares = exact and not away and not down and new < cost * (1.0 + DARING) and predicted > ROUNDED * cost
        if down or dares or (not exact and evaluations == 3):
            if dares:
                copy_point(z, g, H, N, p, home_z, home_g, home_H, home_N)
                home_predicted = predicted
            else:
                if evaluations > 1 and down and not away:
                    damp = new_damping(damp, cost - new, predicted)
                    growth = 2.0
                home = new
            away = dares
            refused = 0.0
            cost = new
            copy_point(step, g2, H2, H2, p, z, g, H, N)
            if evaluations > 1:
                newton_matrix(u, w, z, p, loss, r, second, H, pull, N)
                exact = True
        else:
            if away:
                copy_point(home_z, home_g, home_H, home_N, p, z, g, H, N)
                cost = home
                predicted = home_predicted
                away = False
            if exact and predicted <= ROUNDED * cost and new <= cost * (1.0 + 1e-14 * u.size):
                return cost, evaluations, CONVERGED
            refused = damp
            damp = max(damp * growth, 1e-4)
            growth *= 2.0
            if damp > 1e10:
                return cost, evaluations, STALLED
            if not exact:
                for k in range(p):
                    step[k] = z[k]
                continue
        predicted, damp, settled, newton = next_step(
            z, g, H, N, cost, rounding, damp, refused, exact, lower, upper, p, damping, step, free, L, trial
        )
        longest = 0.0
        for k in range(p):
            longest = max(longest, abs(step[k]))
        move(z, step, free, lower, upper, p)
        if settled and not away:
            trusted = newton or (loss == LINEAR and not exact)
            if trusted and predicted > 0.0 and cost > rounding and longest < FREE_STEP:
                for k in range(p):
                    z[k] = step[k]
                cost -= predicted
            return cost, evaluations, CONVERGED
    if away:
        copy_point(home_z, home_g, home_H, home_N, p, z, g, H, N)
    return home, MAX_PASSES, EXHAUSTED
