"""Models are data: their derivatives, boxes and records."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from scipy.special import erf

from xpcs_dask.errors import ConfigError, UnknownParameterError
from xpcs_dask.fitting.models import DOUBLE, MODELS, SINGLE, Model, Parameter, by_name, resolve

DELAY = np.geomspace(1e-4, 10, 50)
POINTS = {
    "simple": [(0.2, 0.05, 1.0), (0.9, 3.0, 0.7), (-0.2, 0.05, 1.0)],
    "single": [(0.2, 0.05, 0.8, 1.0), (0.9, 3.0, 2.2, 0.7), (0.1, 1e-4, 0.3, 1.2), (-0.2, 0.05, 0.8, 1.0)],
    "double": [
        (0.2, 0.01, 0.8, 1.0, 1.0, 1.3, 0.4),
        (0.7, 2.0, 1.1, 0.9, 0.003, 0.6, 0.9),
        (-0.2, 0.01, 0.8, 1.0, 1.0, 1.3, 0.4),
    ],
    "cumulant2": [(0.2, 0.05, 0.3, 1.0), (0.9, 3.0, 1.0, 0.7), (-0.2, 0.05, 0.0, 1.0)],
    "cumulant3": [(0.2, 0.05, 0.3, 0.2, 1.0), (0.9, 3.0, 1.0, 2.0, 0.7), (0.2, 0.05, 0.1, -0.2, 1.0)],
    "schulz": [(0.2, 0.05, 0.4, 1.0), (0.9, 3.0, 2.2, 0.7), (0.1, 1e-4, 0.02, 1.2), (-0.2, 0.05, 0.4, 1.0)],
    "ballistic": [(0.2, 0.05, 1.0), (0.9, 3.0, 0.7), (-0.2, 0.05, 1.0)],
    "levy": [(0.2, 0.05, 1.4, 1.0), (0.9, 3.0, 2.0, 0.7), (-0.2, 0.05, 1.4, 1.0)],
    "shear": [(0.2, 0.05, 40.0, 1.0), (0.9, 3.0, 0.3, 0.7), (-0.2, 0.05, 300.0, 1.0)],
    "poiseuille": [(0.2, 0.05, 40.0, 1.0), (0.9, 3.0, 0.3, 0.7), (-0.2, 0.05, 300.0, 1.0)],
    "heterodyne": [(0.2, 0.05, 40.0, 0.3, 1.0), (0.9, 3.0, 0.3, 0.9, 0.7), (-0.2, 0.05, 300.0, 0.5, 1.0)],
    "anomalous": [(0.2, 0.05, 0.6, 1.0), (0.9, 3.0, 2.0, 0.7), (-0.2, 0.05, 0.6, 1.0)],
    "confined": [(0.2, 0.05, 0.5, 1.5, 1.0), (0.9, 3.0, 1.0, 9.0, 0.7), (-0.2, 0.05, 0.3, 0.1, 1.0)],
    "arrested": [(0.2, 0.05, 0.8, 0.6, 1.0), (0.9, 3.0, 2.2, 0.1, 0.7), (-0.2, 0.05, 0.8, 0.95, 1.0)],
}
CONDITIONED = {"schulz": 1e-6}
"""Models whose complex step is not exact: NumPy's log1p of complex numbers loses digits near 1."""


@pytest.mark.parametrize(("name", "theta"), [(n, t) for n, ts in POINTS.items() for t in ts])
def test_jacobian_is_the_complex_step(name, theta):
    model = MODELS[name]
    columns = []
    for k in range(len(theta)):
        point = list(theta)
        point[k] = complex(theta[k], 1e-30)
        columns.append(np.imag(model.evaluate(DELAY, *point)) / 1e-30)
    expected = np.stack(columns, axis=-1)
    rtol = CONDITIONED.get(name, 1e-10)
    found = model.jacobian(DELAY, *theta)
    assert (np.abs(found - expected) <= rtol * (np.abs(expected) + 1e-4 * np.abs(expected).max(axis=0))).all()


@pytest.mark.parametrize("name", MODELS)
def test_jacobian_is_finite_at_zero_delay(name):
    x = np.array([0.0, 1e-300, 1.0])
    with np.errstate(all="ignore"):
        found = MODELS[name].jacobian(x, *POINTS[name][0])
    assert np.isfinite(found).all()
    slope_of_zero = np.delete(found[0], [MODELS[name].index("contrast"), MODELS[name].index("baseline")])
    assert (slope_of_zero == 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_formula_says_what_is_evaluated(name):
    model, theta = MODELS[name], POINTS[name][0]
    names = dict(zip(model.names, theta, strict=True))
    known = {"exp": np.exp, "sin": np.sin, "cos": np.cos, "pi": np.pi, "sqrt": np.sqrt, "erf": erf}
    expected = eval(model.formula, {**known, "t": DELAY, **names})
    np.testing.assert_allclose(model.evaluate(DELAY, *theta), expected, rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_every_record_is_complete(name):
    model = MODELS[name]
    assert model.source
    assert model.grid is not None
    assert model.jacobian is not None
    assert pickle.loads(pickle.dumps(model)) == model
    assert all(p.description for p in model.parameters)
    lower, upper = model.box(DELAY)
    assert np.isfinite([lower, upper]).all()
    shapes = model.grid(DELAY)
    assert ((shapes >= lower - 1e-12) & (shapes <= upper * (1 + 1e-12)))[:, 1:-1].all() or name == "double"


@pytest.mark.parametrize("name", MODELS)
def test_many_curves_at_once_are_many_single_ones(name):
    """Shapes of delays and parameters broadcast, which starts and diagnostics rely on."""
    model, thetas = MODELS[name], np.array(POINTS[name])
    columns = list(thetas.T[..., None])
    delays = np.broadcast_to(DELAY, (len(thetas), DELAY.size))
    for function in (model.evaluate, model.jacobian):
        one = np.stack([function(DELAY, *theta) for theta in thetas])
        np.testing.assert_allclose(function(delays, *columns), one, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(function(DELAY, *columns), one, rtol=1e-13, atol=1e-15)


def test_siegert_double_with_one_component_is_single():
    one = DOUBLE.evaluate(DELAY, 0.3, 0.02, 0.9, 1.0, 5.0, 1.0, 1.0)
    np.testing.assert_allclose(one, SINGLE.evaluate(DELAY, 0.3, 0.02, 0.9, 1.0), rtol=1e-14)


def test_box_scales_relaxation_times_with_the_delays():
    lower, upper = SINGLE.box(np.array([np.nan, 0.0, 1e-3, 2.0]))
    assert lower == pytest.approx([0, 1e-4, 0.1, 0.5])
    assert upper == pytest.approx([1, 20.0, 3.0, 1.5])


def test_box_takes_bounds_and_fixed_values():
    lower, upper = SINGLE.box(DELAY, {"tau": (1e-3, 1.0)}, {"stretch": 1.0})
    assert (lower[1], upper[1]) == (1e-3, 1.0)
    assert lower[2] == upper[2] == 1.0
    assert (lower[0], upper[0]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("bounds", "fixed", "message"),
    [
        ({"contrast": (1.0, 0.5)}, {}, r"bounds of 'contrast' are crossed or empty: \(1, 0.5\)"),
        ({"contrast": (0.5, 0.5)}, {}, "hold a value with fixed="),
        ({"contrast": (np.nan, 0.5)}, {}, "crossed or empty"),
        ({"tau": (0.0, 1.0)}, {}, "must stay above 0"),
        ({}, {"tau": -1.0}, "must be above 0"),
        ({}, {"contrast": np.inf}, "not a finite number"),
        ({"contrast": (0.1, 0.5)}, {"contrast": 0.6}, r"'contrast' is fixed at 0.6, outside its bounds \(0.1, 0.5\)"),
    ],
)
def test_box_refuses_nonsense(bounds, fixed, message):
    with pytest.raises(ConfigError, match=message):
        SINGLE.box(DELAY, bounds, fixed)


def test_unknown_parameter_names_the_known_ones():
    with pytest.raises(UnknownParameterError, match="has no parameter 'beta'; it has contrast, tau, stretch, baseline"):
        SINGLE.box(DELAY, fixed={"beta": 1.0})


def line(x, slope, offset):
    return slope * x + offset


def test_from_function_reads_names_from_the_signature():
    model = Model.from_function(line)
    assert model.names == ("slope", "offset")
    assert model.name == "line"
    lower, upper = model.box(DELAY)
    assert np.isneginf(lower).all()
    assert np.isposinf(upper).all()
    assert pickle.loads(pickle.dumps(model)) == model


def test_from_function_takes_names_records_and_compiled_functions():
    mixed = Model.from_function(lambda x, *p: x, ["a", Parameter(name="b", unit="s", lower=0.0)], name="mixed")
    assert (mixed.names, mixed.units, mixed.name) == (("a", "b"), ("1", "s"), "mixed")

    class Compiled:
        py_func = staticmethod(line)

        def __call__(self, *arguments):
            return line(*arguments)

    assert Model.from_function(Compiled()).names == ("slope", "offset")


def with_options(x, slope, /, offset, *, power=1.0):
    return slope * x**power + offset


def with_demand(x, slope, *, offset):
    return slope * x + offset


def test_parameters_are_the_positional_arguments():
    assert Model.from_function(with_options).names == ("slope", "offset")
    assert Model.from_function(partial(with_options, power=2.0)).names == ("slope", "offset")
    assert Model.from_function(partial(line, offset=1.0)).names == ("slope",)
    assert Model.from_function(lambda x, a, **options: a * x).names == ("a",)


@pytest.mark.parametrize(
    ("function", "names", "message"),
    [
        (with_demand, None, "argument 'offset' can only be given by keyword and has no default"),
        (partial(line, slope=1.0), None, "argument 'offset' can only be given by keyword"),
        (np.hypot, None, "pass parameters="),
        (np.sin, None, "pass parameters="),
        (max, None, "pass parameters="),
        (line, ["a", "a"], "two parameters named 'a' in a, a"),
    ],
)
def test_unreadable_signature_is_refused(function, names, message):
    with pytest.raises(ConfigError, match=message):
        Model.from_function(function, names)


def test_ufunc_with_names_is_a_model():
    model = Model.from_function(np.hypot, ["a"])
    assert model.evaluate(3.0, 4.0) == 5.0


def test_fixed_value_on_its_bound_is_inside():
    lower, upper = SINGLE.box(DELAY, {"contrast": (0.1, 0.5)}, {"contrast": 0.5})
    assert lower[0] == upper[0] == 0.5


def test_from_function_needs_names():
    with pytest.raises(ConfigError, match="pass parameters="):
        Model.from_function(lambda x, *p: x)


def test_resolve():
    assert resolve("double") is DOUBLE
    assert resolve(DOUBLE) is DOUBLE
    assert resolve(line, jac=max).jacobian is max
    with pytest.raises(ConfigError, match="unknown model 'triple'; known models are simple, single, double"):
        resolve("triple")


def test_results_name_their_model_unless_it_is_a_function_of_a_user():
    found = by_name("single+vibration", ["contrast", "tau", "stretch", "baseline", "amplitude", "frequency"])
    assert found is not None
    assert found.name == "single+vibration"
    assert by_name("my function") is None
    assert by_name("ballistic", ["contrast", "rate", "baseline"]) is None
