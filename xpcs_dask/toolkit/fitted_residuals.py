"""Residuals of a fit in the form in which the package tests them: in order of log x, with the directions of the fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xpcs_dask.errors import ConfigError
from xpcs_dask.fitting.hat import Projection, combined, dots, orthonormal
from xpcs_dask.fitting.independent import Sequence, independent
from xpcs_dask.fitting.models import Floats


@dataclass(frozen=True, slots=True, eq=False)
class FittedResiduals:
    """Residuals of one fit."""

    fit: Projection
    """Of one curve, points in the order they came in."""
    at: Floats
    """(m,) what points are ordered by."""
    ordered: Projection
    """The same in order of `at`."""
    orthogonal: Projection
    """Ordered, and freed of what the directions of the fit could still take up: nothing at a minimum."""
    sequence: Sequence
    """These made independent again."""
    point: NDArray[np.intp]
    """(m,) which point each of the ordered is."""
    weight: Floats
    """(m,) 1/sigma."""
    absolute: bool
    """Whether errors are known, rather than up to a factor."""
    directions_known: bool
    """Whether the derivatives of the fit were given; a constant stands for them where not."""

    @property
    def numbers(self) -> Floats:
        """Independent residuals, in order."""
        return self.sequence.number[0, : int(self.sequence.count[0])]

    @property
    def places(self) -> Floats:
        """`at` of each of `numbers`."""
        inside: Floats = self.at[self.point][self.sequence.point[0, : int(self.sequence.count[0])]]
        return inside


def fitted_residuals(
    x: ArrayLike, residuals: ArrayLike, sigma: ArrayLike | None = None, jacobian: ArrayLike | None = None
) -> FittedResiduals:
    """Put residuals of one fit into the form of the package's tests.

    Parameters
    ----------
    x, residuals : array_like, shape (m,)
    sigma : array_like, shape (m,) or (), optional
    jacobian : array_like, shape (m, p), optional
        Derivatives of the model in the parameters that were fitted. Without them residuals count as those of a
        constant: only their mean is taken for fitted.
    """
    rest = np.atleast_1d(np.asarray(residuals, dtype=np.float64))
    if rest.ndim != 1 or not np.isfinite(rest).all():
        raise ConfigError(f"residuals must be a row of finite numbers, not an array of shape {rest.shape} or with NaN")
    weight = np.ones(rest.size) if sigma is None else 1.0 / _errors(sigma, rest.size)
    columns = np.ones((rest.size, 1)) if jacobian is None else np.asarray(jacobian, dtype=np.float64)
    if columns.ndim != 2 or len(columns) != rest.size or not np.isfinite(columns).all():
        raise ConfigError(f"jacobian must be finite numbers of shape ({rest.size}, parameters), not {columns.shape}")
    at = abscissa(x, rest.size)
    fit = _projection((rest * weight)[None], (columns * weight[:, None]).T[:, None])
    ordered, point = fit.together(at)
    free = orthogonal(ordered)
    return FittedResiduals(
        fit, at, ordered, free, independent(free), point[0], weight, sigma is not None, jacobian is not None
    )


def centred(x: Floats, rows: Floats) -> Projection:
    """Residuals (n, m) of many curves of which only the mean counts as fitted, in order of log x."""
    return _projection(rows, np.ones((1, *rows.shape))).together(abscissa(x, rows.shape[1]))[0]


def orthogonal(fit: Projection) -> Projection:
    """Take out of residuals what lies along the directions of their fit: the tests rely on that."""
    taken = combined(fit.basis, dots(fit.basis, fit.residual)[:, :, None])
    return replace(fit, residual=fit.residual - taken)


def abscissa(x: ArrayLike, m: int) -> Floats:
    """Return what points are ordered by, (m,): ln x where x is positive, the shortest standing in for 0, else x.

    Where x is not one number a point, points are counted.
    """
    place = np.asarray(x)
    if place.shape != (m,) or place.dtype.kind not in "fiu" or not np.isfinite(place).all():
        return np.arange(m, dtype=np.float64)
    place = place.astype(np.float64)
    if (place < 0).any() or not (place > 0).any():
        return place
    return np.log(np.maximum(place, place[place > 0].min()))


def _projection(residual: Floats, columns: Floats) -> Projection:
    """Residuals (n, m) and derivatives (p, n, m), both over sigma."""
    size = np.sqrt(dots(columns, columns))
    unit = columns / np.where(size > 0, size, 1.0)[:, :, None]
    return Projection(residual, np.ones(residual.shape, np.bool_), unit, orthonormal(unit))


def _errors(sigma: ArrayLike, m: int) -> Floats:
    given = np.asarray(sigma, dtype=np.float64)
    try:
        errors = np.array(np.broadcast_to(given, (m,)))
    except ValueError:
        raise ConfigError(f"sigma of shape {given.shape} does not fit {m} points") from None
    if not (np.isfinite(errors) & (errors > 0)).all():
        raise ConfigError("sigma must be finite and above 0 at every point; leave out the others")
    return errors
