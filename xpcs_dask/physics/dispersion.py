"""tau(q): how relaxation times depend on q, from the results of fits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xpcs_dask.engine.graph import Named, columns, map_curves
from xpcs_dask.errors import ConfigError, NoUsableInputError
from xpcs_dask.physics.law_record import Note, fit_laws, record_dtype
from xpcs_dask.physics.laws import Law, law_of
from xpcs_dask.physics.used_bins import DISTRUSTED, bits_of, excluded, meanings
from xpcs_dask.prepare import known

LawName: TypeAlias = Literal["diffusion", "ballistic", "power", "diffusion+constant", "diffusion+flow"]

WIDTH_TO_ERROR = 12.0**-0.5
"""Standard deviation of a uniform distribution over its width."""

VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "value": (("parameter",), "see unit(parameter)", "fitted value of the parameter"),
    "stderr": (("parameter",), "see unit(parameter)", "standard error, enlarged where the bins scatter more than told"),
    "stderr_weights": (("parameter",), "see unit(parameter)", "standard error from the errors of the bins alone"),
    "interval": (("parameter", "bound"), "see unit(parameter)", "confidence interval of the parameter"),
    "correlation": ((), "1", "correlation of the two parameters (of ln amplitude and exponent)"),
    "test_statistic": ((), "1", "distance from the null hypothesis in standard errors"),
    "test_p": ((), "1", "two-sided probability of the null hypothesis being as far off"),
    "chi2": ((), "1", "sum of squared residuals in units of their errors"),
    "chi2_p": ((), "1", "probability of a chi2 as large by chance"),
    "dof": ((), "1", "degrees of freedom: bins used less parameters"),
    "n_used": ((), "1", "bins used"),
    "flags": ((), "1", "what to distrust"),
    "residual": (("over",), "1", "ln tau less the law, in units of its error"),
    "excluded": (("over",), "1", "why the bin was not used; 0 where it was"),
}
"""What `dispersion` returns: dimensions after those of the files, unit and meaning."""


@overload
def dispersion(
    results: xr.Dataset,
    law: LawName = ...,
    *,
    parameter: str = ...,
    over: str = ...,
    by: str | None = ...,
    exclude: Iterable[str] = ...,
    q_err: Any = ...,
    q_range: tuple[float, float] | None = ...,
    level: float = ...,
) -> xr.Dataset: ...


@overload
def dispersion(
    results: xr.DataTree,
    law: LawName = ...,
    *,
    parameter: str = ...,
    over: str = ...,
    by: str | None = ...,
    exclude: Iterable[str] = ...,
    q_err: Any = ...,
    q_range: tuple[float, float] | None = ...,
    level: float = ...,
) -> xr.DataTree: ...


def dispersion(
    results: xr.Dataset | xr.DataTree,
    law: LawName = "diffusion",
    *,
    parameter: str = "tau",
    over: str = "qbin",
    by: str | None = None,
    exclude: Iterable[str] = DISTRUSTED,
    q_err: Any = None,
    q_range: tuple[float, float] | None = None,
    level: float = 0.95,
) -> xr.Dataset | xr.DataTree:
    r"""Fit a law tau(q) to the relaxation times of every file.

    Parameters
    ----------
    results : xarray.Dataset or xarray.DataTree
        From `fit`: ``value``, ``stderr`` ``(..., parameter)``, ``status`` and ``flags``, with a coordinate ``q`` in
        1/angstrom along `over`. Of a DataTree every group by itself.
    law : {"diffusion", "ballistic", "power", "diffusion+constant", "diffusion+flow"}
        tau = 1/(D q^2); 1/(velocity q); amplitude q^-exponent; 1/(D q^2 + rate); 1/(D q^2 + velocity q).
    parameter : str
        Which relaxation time: ``tau``, or ``tau1`` or ``tau2`` of the model ``double``; or a rate in 1/s, such as that
        of the models of flow, of which one over it is tau.
    over : str
        Dimension along which q changes; all others come back.
    by : str, optional
        Coordinate along `over`, such as ``"phi"``: the bins of every value of it are a group with a law of its own, and
        the result gets a dimension of that name.
    exclude : sequence of str
        Flags of the fit (`flag_names`) whose bins are not used; `physics.used_bins.DISTRUSTED` unless given. Bins
        without a relaxation time or its error never are.
    q_err : number, array or DataArray, optional
        Standard error of q in 1/angstrom. Without it the coordinate ``q_err``, or else ``q_width`` over the root of
        twelve, is taken if there is one; otherwise q is exact.
    q_range : (float, float), optional
        Bins with q in [low, high], 1/angstrom.
    level : float
        Of the intervals.

    Returns
    -------
    xarray.Dataset or xarray.DataTree
        Over the other dimensions: ``value``, ``stderr``, ``stderr_weights`` ``(..., parameter)`` and ``interval(...,
        parameter, bound)`` with ``unit(parameter)``, D in angstrom^2/s and (``D_um2``) in um^2/s; ``test_statistic``
        and ``test_p`` of the last parameter (power: exponent = 2; the others: no such term); ``correlation``,
        ``chi2``, ``chi2_p``, ``dof``, ``n_used``; ``flags``, bits of `physics.law_record.Note`; per bin ``residual``
        and ``excluded``, which says why a bin was not used. Lazy if and only if `results` is.

    Raises
    ------
    ConfigError
        For an unknown law, parameter, flag, dimension or unit of q.
    NoUsableInputError
        If no group of a DataTree holds results of a fit.

    Notes
    -----
    The fit is that of ln tau with weights 1/sigma_ln^2, sigma_ln = stderr / tau, by orthogonal regression where q has
    errors. ``stderr`` is ``stderr_weights`` times the root of chi2/dof where that is above 1. Intervals take the normal
    distribution where errors are as told and Student's with dof degrees of freedom where they were enlarged; those of D
    alone and of the amplitude are symmetric in the logarithm.
    """
    settings: dict[str, Any] = {
        "parameter": parameter,
        "over": over,
        "by": by,
        "exclude": exclude,
        "q_err": q_err,
        "q_range": q_range,
        "level": level,
    }
    if isinstance(results, xr.DataTree):
        groups = {node.path: node.to_dataset() for node in results.subtree if "value" in node.data_vars}
        if not groups:
            raise NoUsableInputError("no group of the DataTree holds results of a fit (a variable value)")
        return xr.DataTree.from_dict({path: dispersion(group, law, **settings) for path, group in groups.items()})
    chosen, bits = law_of(law), bits_of(exclude)
    if not 0 < level < 1:
        raise ConfigError(f"level is {level:g}; it must lie between 0 and 1, such as 0.95")
    if q_range is not None and not q_range[0] < q_range[1]:
        raise ConfigError(f"q_range: ({q_range[0]:g}, {q_range[1]:g}) is empty; give (low, high) with low < high")
    _check(results, parameter, over, by)
    return _fitted(results, chosen, bits, settings)


def _fitted(results: xr.Dataset, law: Law, bits: int, settings: dict[str, Any]) -> xr.Dataset:
    over, by = settings["over"], settings["by"]
    fits = results[["value", "stderr"]].sel(parameter=settings["parameter"], drop=True)
    fits = fits.assign(flags=results["flags"], status=results["status"])
    if _unit(results, settings["parameter"]) == "1/s":
        fits = fits.assign(value=1.0 / fits["value"], stderr=fits["stderr"] / fits["value"] ** 2)
    member, groups = _members(results, over, by)
    tau = fits["value"] if by is None else fits["value"].drop_vars(by).expand_dims({by: groups[by].size}, 0)
    tau = tau.transpose(..., over)
    dims = tuple(str(dim) for dim in tau.dims)
    others = (fits["stderr"], fits["flags"], fits["status"], results["q"], _q_error(results, over, settings), member)
    dtype = np.dtype([*record_dtype(law, tau.sizes[over]).descr, ("excluded", "<u4", (tau.sizes[over],))])
    packed = map_curves(
        partial(
            dispersion_block, law=law, bits=bits, q_range=settings["q_range"], level=settings["level"], dtype=dtype
        ),
        Named(tau.variable.data, dims),
        *(_named(array.variable, dims) for array in others),
        core=over,
        dtype=dtype,
        name=f"dispersion-{law.name}",
    )
    return _labelled(columns(packed), dims[:-1], results, law, bits, groups, settings)


def dispersion_block(
    tau: Any,
    *others: Any,
    law: Law,
    bits: int,
    q_range: tuple[float, float] | None,
    level: float,
    dtype: np.dtype[np.void],
) -> NDArray[np.void]:
    """Fit a law to every file of a block (..., bin); runs in tasks.

    The others are stderr, flags, status, q, the error of q, and whether a bin belongs to the group.
    """
    shape = np.shape(tau)
    flat = [
        np.broadcast_to(np.asarray(array), shape).reshape(int(np.prod(shape[:-1])), shape[-1])
        for array in (tau, *others)
    ]
    times, stderr, flags, status, q, q_err, member = flat
    why = excluded(times, stderr, flags, status, q, bits=bits, q_range=q_range, member=member)
    found = fit_laws(times, stderr, q, q_err, why == 0, law, level)
    out = np.empty(len(found), dtype=dtype)
    for name in found.dtype.names or ():
        out[name] = found[name]
    out["excluded"] = why
    return out.reshape(shape[:-1])


def _check(results: Any, parameter: str, over: str, by: str | None) -> None:
    if not isinstance(results, xr.Dataset) or not {"value", "stderr", "flags", "status"} <= set(results.variables):
        raise ConfigError("dispersion takes the results of fit: value, stderr, status and flags")
    if over not in results["value"].dims:
        raise ConfigError(f"over: results have no dimension {over!r}; they have {_list(results['value'].dims)}")
    names = known(results["parameter"]).tolist()
    if parameter not in names:
        raise ConfigError(f"parameter: the results have no {parameter!r}; they have {_list(names)}")
    if (unit := _unit(results, parameter)) not in ("s", "1/s"):
        raise ConfigError(f"parameter: {parameter!r} is no relaxation time and no rate; its unit is {unit}")
    if "q" not in results.coords or over not in results["q"].dims:
        raise ConfigError(f"the results have no coordinate q along {over!r}; assign it in 1/angstrom")
    if (unit := str(results["q"].attrs.get("units", "1/angstrom"))) != "1/angstrom":
        raise ConfigError(f"q must be in 1/angstrom, but the coordinate says units='{unit}'; convert it first")
    if by is not None and (by not in results.coords or results[by].dims != (over,)):
        raise ConfigError(f"by: the results have no coordinate {by!r} along {over!r} alone")


def _unit(results: xr.Dataset, parameter: str) -> str:
    return str(known(results["unit"])[known(results["parameter"]).tolist().index(parameter)])


def _list(names: Iterable[Any]) -> str:
    return ", ".join(map(str, names))


def _named(variable: xr.Variable, dims: tuple[str, ...]) -> Named:
    variable = variable.transpose(*(dim for dim in dims if dim in variable.dims))
    return Named(variable.data, tuple(str(dim) for dim in variable.dims))


def _members(results: xr.Dataset, over: str, by: str | None) -> tuple[xr.DataArray, dict[str, xr.Variable]]:
    """Which bins belong to which group, and the coordinate of the groups."""
    if by is None:
        return xr.DataArray(np.ones(results.sizes[over], dtype=bool), dims=over), {}
    values = known(results[by])
    groups = np.unique(values[~np.isnan(values)] if values.dtype.kind == "f" else values)
    member = xr.DataArray(values == groups[:, None], dims=(by, over))
    return member, {by: xr.Variable(by, groups, results[by].attrs)}


def _q_error(results: xr.Dataset, over: str, settings: dict[str, Any]) -> xr.DataArray:
    given = settings["q_err"]
    if given is None and "q_err" in results.coords:
        given = results["q_err"]
    elif given is None and "q_width" in results.coords:
        given = results["q_width"] * WIDTH_TO_ERROR
    if given is None:
        given = 0.0
    if not isinstance(given, xr.DataArray):
        shape = np.shape(given)
        if shape not in ((), (results.sizes[over],)):
            raise ConfigError(f"q_err has shape {shape}; give a number or one for each of {results.sizes[over]} bins")
        given = xr.DataArray(np.asarray(given, dtype=np.float64), dims=(over,) if shape else ())
    if not set(given.dims) <= set(results["value"].dims) - {"parameter"}:
        raise ConfigError(f"q_err has dimensions {_list(given.dims)}, which are not all among those of the results")
    if given.chunks is None and not (np.isfinite(given.values) & (given.values >= 0)).all():
        raise ConfigError("q_err must be finite and not negative, in 1/angstrom")
    return given if over in given.dims else given.expand_dims({over: results.sizes[over]}, -1)


def _labelled(
    found: dict[str, Any],
    dims: tuple[str, ...],
    results: xr.Dataset,
    law: Law,
    bits: int,
    groups: dict[str, xr.Variable],
    settings: dict[str, Any],
) -> xr.Dataset:
    over = settings["over"]
    variables = {}
    for name, (own, unit, text) in VARIABLES.items():
        last = tuple(over if dim == "over" else dim for dim in own)
        variables[name] = xr.Variable((*dims, *last), found[name], {"long_name": text, "units": unit})
    if law.test:
        for name in ("test_statistic", "test_p"):
            variables[name].attrs["null_hypothesis"] = law.test
    _code(variables["flags"], [(int(note), str(note.name).lower()) for note in Note])
    _code(variables["excluded"], meanings())
    kept = {*dims, over}
    coords = {name: array for name, array in results.coords.items() if set(array.dims) <= kept and name not in groups}
    own_coords = {
        "parameter": ("parameter", list(law.parameters), {"long_name": "parameter of the law", "units": "1"}),
        "unit": ("parameter", list(law.units), {"long_name": "unit of the parameter", "units": "1"}),
        "bound": ("bound", ["lower", "upper"], {"long_name": "end of the interval", "units": "1"}),
    }
    return xr.Dataset(variables, {**coords, **groups, **own_coords}, _provenance(results, law, bits, settings))


def _code(variable: xr.Variable, codes: list[tuple[int, str]]) -> None:
    variable.attrs["flag_masks"] = np.array([bit for bit, _ in codes], dtype=np.uint32)
    variable.attrs["flag_meanings"] = " ".join(name for _, name in codes)


def _provenance(results: xr.Dataset, law: Law, bits: int, settings: dict[str, Any]) -> dict[str, Any]:
    told = {
        "law": law.name,
        "parameter": settings["parameter"],
        "over": settings["over"],
        "by": settings["by"],
        "exclude": [name for bit, name in meanings() if bit & bits],
        "q_err": settings["q_err"] is not None,
        "q_range": settings["q_range"],
        "level": settings["level"],
    }
    return {**results.attrs, "dispersion": json.dumps(told), "law_formula": law.formula}
