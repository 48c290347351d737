from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import xarray as xr
from engine.counting import computes_at_most

import xpcs_dask as xd
from xpcs_dask import comparison
from xpcs_dask.comparison import compare
from xpcs_dask.errors import ConfigError, NoUsableInputError, UnknownParameterError
from xpcs_dask.fitting.layout import ErrorsFrom


@pytest.fixture(scope="module")
def data():
    """Stretched decays: 6 files, 2 bins."""
    return xd.simulate.curves(6, q=[0.004, 0.008], model="single", stretch=0.7, seed=1)


@pytest.fixture(scope="module")
def pixels():
    """Simple decays with the g2 of every pixel."""
    return xd.simulate.speckle(12, pixels=24, frames=2048, clusters=True, seed=4)


@pytest.fixture(scope="module")
def found(data):
    return compare(data, folds=3)


def test_shape_names_and_units(data, found):
    assert dict(found.sizes) == {"file": 6, "qbin": 2, "model": 3, "criterion": 3, "test": 3}
    assert found["model"].values.tolist() == ["simple", "single", "double"]
    assert found["criterion"].values.tolist() == ["aicc", "bic", "cv"]
    assert [*zip(found["small"].values, found["large"].values, strict=True)] == [
        ("simple", "single"),
        ("simple", "double"),
        ("single", "double"),
    ]
    assert found["n_free"].values.tolist() == [3, 4, 7]
    for name, variable in found.variables.items():
        assert name in data.coords or {"units", "long_name"} <= set(variable.attrs), name
    for name in ("q", "curve_id", "frames"):
        xr.testing.assert_identical(found[name], data[name].drop_vars(set(data[name].coords) - set(found.coords)))


def test_it_is_what_fit_says_of_each_model(data, found):
    for name in found["model"].values:
        fits, one = xd.fit(data, str(name)), found.sel(model=name)
        for column in ("chi2", "aicc", "bic", "status", "n_used"):
            np.testing.assert_array_equal(fits[column], one[column])


def test_a_stretched_decay_is_seen(found):
    best = found["best"].sel(criterion=["aicc", "bic"])
    assert (best != 0).all()  # not simple
    assert (best.sel(criterion="bic") == 1).mean() > 0.8
    assert (found["likelihood_ratio_p"].isel(test=0) < 1e-6).all()
    assert (found["wald_p"].isel(test=0) < 1e-3).all()
    assert (found["akaike_weight"].sum("model") - 1 < 1e-12).all()
    assert found["best"].attrs["flag_meanings"].split()[2] == "single"
    assert found["best"].attrs["flag_values"].tolist() == [-1, 0, 1, 2]


def test_one_decay_in_two_has_a_ratio_but_no_wald_test(found):
    others = found.isel(test=[1, 2])
    assert np.isfinite(others["likelihood_ratio_p"]).all()
    assert np.isnan(others["wald_p"]).all()


def test_clusters_make_the_wald_test(pixels):
    found = compare(pixels, ["simple", "single"], folds=0).isel(test=0)
    assert (found["errors_from"] == ErrorsFrom.CLUSTER).all()
    fits = xd.fit(pixels, "single").sel(parameter="stretch")
    np.testing.assert_allclose(found["wald"], ((fits["value"] - 1) / fits["stderr"]) ** 2, rtol=1e-6)
    alone = compare(pixels.drop_vars("g2_cluster"), ["simple", "single"], folds=0).isel(test=0)
    assert (alone["errors_from"] != ErrorsFrom.CLUSTER).all()
    np.testing.assert_array_equal(alone["likelihood_ratio_p"], found["likelihood_ratio_p"])
    asked = compare(pixels, ["simple", "single"], folds=0, covariance="wald").isel(test=0)
    assert (asked["errors_from"] == ErrorsFrom.WALD).all()


def test_it_warns_where_only_one_curve_is_known(pixels, caplog):
    with caplog.at_level(logging.WARNING):
        one = compare(pixels.drop_vars("g2_cluster"), ["simple", "single"], folds=0)
    assert "only one curve per bin is known" in one.attrs["warning"]
    assert one.attrs["warning"] in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        many = compare(pixels, ["simple", "single"], folds=0)
    assert "Wald" in many.attrs["warning"]
    assert not caplog.text


def test_lazy_in_lazy_out_and_the_same_bits_however_it_is_cut(data, found):
    for chunks in ({"file": 1}, {"file": 4, "qbin": 1}, {"delay": 10}):
        lazy = compare(data.chunk(chunks), folds=3)
        assert all(lazy[name].chunks is not None for name in found.data_vars if name != "n_free")
        xr.testing.assert_identical(lazy.compute(), found)


def test_building_runs_nothing_and_all_numbers_come_from_one_look(data, monkeypatch):
    looks = []
    compare_block = comparison.compare_block

    def counting(g2, *others, plan):
        looks.append(g2.shape[:-1])
        return compare_block(g2, *others, plan=plan)

    monkeypatch.setattr(comparison, "compare_block", counting)
    with computes_at_most(1):
        lazy = compare(data.chunk({"file": 2}), ["simple", "single"])
        assert not looks
        lazy.compute()
    assert looks == [(2, 2)] * 3


def test_other_models_and_what_is_held(data):
    def line(delay, a, b):
        return a + b * np.log(delay)

    found = compare(data.isel(file=[0]), ["single", ("single", {"stretch": 0.5}), line], folds=2)
    assert found["model"].values.tolist() == ["single", "single(stretch=0.5)", "line"]
    assert found["n_free"].values.tolist() == [4, 3, 2]
    assert found["small"].values.tolist() == ["single(stretch=0.5)"]
    assert found["best"].attrs["flag_meanings"].split()[2] == "single(stretch=0.5)"
    fixed = compare(data.isel(file=[0]), ["simple", "single"], fixed={"baseline": 1.0, "stretch": 0.9})
    assert fixed["n_free"].values.tolist() == [2, 2]
    assert "test" not in fixed.dims
    bound = compare(data.isel(file=[0]), ["simple", "single"], bounds={"stretch": (1.2, 2.0)}, folds=0)
    assert "test" not in bound.dims  # simple is outside
    with pytest.raises(UnknownParameterError, match="'tau3'"):
        compare(data, fixed={"tau3": 1.0})


def test_arrays_without_errors_have_an_unknown_scale(data):
    one = compare(data["g2"], ["simple", "single"], folds=0)
    other = compare(1 + 3 * (data["g2"] - 1), ["simple", "single"], folds=0, bounds={"contrast": (0, 3)})
    np.testing.assert_allclose(one["likelihood_ratio"], other["likelihood_ratio"], rtol=1e-4)
    np.testing.assert_allclose(one["aicc"].diff("model"), other["aicc"].diff("model"), rtol=1e-4)


def test_groups_of_a_tree_are_compared_apart(data, found, caplog):
    empty = data.assign_coords(q=data["q"] + 1)
    tree = xr.DataTree.from_dict({"/a": data, "/b/c": data.isel(file=[1]), "/d": empty})
    out = compare(tree, folds=3, q_range=(0, 0.1))
    assert [node.path for node in out.leaves] == ["/a", "/b/c"]
    xr.testing.assert_identical(out["/a"].to_dataset().drop_attrs(deep=False), found.drop_attrs(deep=False))
    assert "group /d is left out" in caplog.text
    with pytest.raises(NoUsableInputError, match="/d"):
        compare(tree, q_range=(5, 6))
    with pytest.raises(NoUsableInputError, match="no group"):
        compare(xr.DataTree())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["single"]}, "two models or more"),
        ({"robust": "clip"}, "robust='clip' gives no likelihood"),
        ({"loss": "huber"}, "loss='huber' gives no likelihood"),
        ({"weights": "gls"}, "'gls' weighs the points of each model"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": -1}, "folds is -1"),
        ({"folds": 500}, "make no 1000 blocks"),
        ({"folds": 40}, "make no 80 blocks"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is"),
        ({"colour": 1}, "unknown setting"),
    ],
)
def test_what_makes_no_sense_is_refused(data, arguments, message):
    with pytest.raises(ConfigError, match=message):
        compare(data, **arguments)


def test_attributes_tell_where_it_comes_from(found):
    assert json.loads(found.attrs["config"])["errors"] == "auto"
    assert (found.attrs["folds"], found.attrs["seed"]) == (3, "0")
    assert json.loads(found.attrs["models"]) == ["simple", "single", "double"]
    assert "xpcs-dask" in json.loads(found.attrs["versions"])


@pytest.mark.parametrize("suffix", ["zarr", "nc"])
def test_it_is_saved_and_opened(found, tmp_path, suffix):
    path = xd.save(found, tmp_path / f"models.{suffix}")
    xr.testing.assert_identical(xd.open_results(path).compute(), found)


def test_another_seed_deals_other_folds(data, found):
    other = compare(data, folds=3, seed=1)
    assert (other["cv"] != found["cv"]).any()
    np.testing.assert_array_equal(other["aicc"], found["aicc"])
