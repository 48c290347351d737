"""What a report says: in words, in counts, in tables; against what was planted and what the store holds."""

from __future__ import annotations

import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xpcs_dask as xd
from xpcs_dask.errors import ConfigError, FileRejected, NoUsableInputError, OutputExistsError
from xpcs_dask.fitting.layout import Status
from xpcs_dask.reporting import report, slabs
from xpcs_dask.reporting.picks import Picks
from xpcs_dask.reporting.source import opened
from xpcs_dask.simulate.files import write_aps

from .conftest import FAILED, NOISE, SLOW, D, planted
from .page_reader import Page


def sentence(page: Page, words: str) -> str:
    """Text from some words on."""
    return page.text[page.text.index(words) :][:300]


def test_the_page_is_well_formed_and_can_be_read_aloud(page):
    assert page.problems == []
    assert page.source.startswith("<!DOCTYPE html>\n<html lang=")
    assert [text for level, text in page.headings if level == 1] == ["fits.zarr"]
    levels = [level for level, _ in page.headings]
    assert all(after <= before + 1 for before, after in pairwise(levels) if after < 4)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert all(len(str(image["alt"])) > 30 for image in page.all("img"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    targets = {str(link["href"])[1:] for link in page.all("a")}
    assert targets <= set(identifiers)


def test_the_page_asks_for_nothing(page):
    addresses = [str(attrs[name]) for _, attrs in page.tags for name in ("src", "href") if attrs.get(name)]
    assert {address.split(":")[0] for address in addresses if not address.startswith("#")} == {"data"}
    assert not re.search(r"@import|url\(", page.source)
    assert any("default-src 'none'" in str(meta.get("content")) for meta in page.all("meta"))


def test_what_can_be_used_is_counted(page, fits):
    flags, status = fits["flags"].values, fits["status"].values
    distrusted = np.zeros(flags.shape, dtype=bool)
    for name in ("at_bound", "unidentifiable", "starts_disagree", "weak", "no_signal", "slow"):
        distrusted |= (flags & int(xd.Flag[name.upper()])) != 0
    good = int(((status == Status.CONVERGED) & ~distrusted).sum())
    assert f"{good} of 24 curves can be used" in page.text
    assert page.json("xpcs-head")["verdicts"] == {
        "good": good, "doubtful": 0, "distrusted": int((distrusted & (status == 1)).sum()), "failed": 1,
    }  # fmt: skip
    assert "24 curves of 3 files, q from 0.004 to 0.012 1/angstrom. Model simple" in page.text


def test_a_failed_curve_is_told_in_words(page):
    assert sentence(page, "no data: 1 curve (4 %; in run0 (1))").startswith(
        "no data: 1 curve (4 %; in run0 (1)) No point, or too few, could be used"
    )
    (row,) = [row for row in page.rows("curves") if row["verdict"] == "failed"]
    assert (row["file"], row["qbin"], row["status"]) == ("run0_results.hdf", str(FAILED[1] + 1), "no_data")
    assert row["tau"] == row["tau_stderr"] == row["contrast"] == ""
    assert any("run0_results.hdf, bin 3" in figure and "No fit (no data)" in figure for figure in page.figures)


def test_noise_and_a_decay_beyond_the_delays_are_told_in_words(page, fits):
    for name, title in (("no_signal", "no signal"), ("unidentifiable", "relaxation time not identifiable")):
        count = int(((fits["flags"].values & int(xd.Flag[name.upper()])) != 0).sum())
        assert f"{title}: {count} curve" in page.text
        assert page.json("glossary")[name]["curves"] == count
    rows = {(row["file"], int(row["qbin"])): row for row in page.rows("curves")}
    for file, position in (NOISE, SLOW):
        row = rows[f"run{file}_results.hdf", position + 1]
        assert row["verdict"] == "distrusted"
        assert "unidentifiable" in row["flags"]


def test_worst_comes_first(page):
    start, end = page.text.index("What to distrust, worst first"), page.text.index("Law diffusion: tau")
    told = page.text[start:end]
    order = [told.index(f"{title}: ") for title in ("no data", "no signal", "several minima")]
    assert order == sorted(order)


def test_a_rejected_file_is_listed_with_its_reason(page, run):
    assert "1 further file could not be used" in page.text
    (row,) = page.rows("rejected")
    assert row["file"] == str(run / "results" / "broken_results.hdf")
    assert "HDF5" in row["reason"]
    assert row["reason"] in page.text


def test_numbers_of_the_table_are_those_of_the_store(page, fits):
    rows = page.rows("curves")
    assert len(rows) == 24
    order = [(file, qbin) for file in fits["file"].values for qbin in fits["qbin"].values]
    assert [(row["file"], int(row["qbin"])) for row in rows] == order
    for name in ("contrast", "tau", "baseline"):
        for part, column in (("value", name), ("stderr", f"{name}_stderr")):
            told = np.array([float(row[column] or "nan") for row in rows])
            np.testing.assert_array_equal(told, fits[part].sel(parameter=name).values.ravel())
    np.testing.assert_array_equal([float(row["q"]) for row in rows], np.tile(fits["q"].values, 3))
    chi2 = np.array([float(row["reduced_chi2"] or "nan") for row in rows])
    np.testing.assert_allclose(chi2, (fits["chi2"] / fits["dof"].where(fits["dof"] > 0)).values.ravel(), rtol=1e-15)
    assert [row["flags"].split() for row in rows] == [xd.flag_names(int(flag)) for flag in fits["flags"].values.ravel()]


def test_diffusion_is_that_of_dispersion_and_of_the_truth(page, fits):
    found = xd.dispersion(fits)
    rows = page.rows("relaxation")
    for at, row in enumerate(rows):
        np.testing.assert_array_equal(
            [float(row["D"]), float(row["D_stderr"]), float(row["D_lower"]), float(row["D_upper"])],
            [*(found[name].values[at, 0] for name in ("value", "stderr")), *found["interval"].values[at, 0]],
        )
        assert abs(float(row["D"]) - D[at]) < 4 * float(row["D_stderr"])
        assert int(row["bins_used"]) == int(found["n_used"].values[at])
    assert "run1: D = 0.0200" in page.text
    assert sentence(page, "run1: D =").count("which agrees with 2") >= 1


def test_figures_are_bounded_and_of_the_planted_curves(page):
    assert 10 < len(page.figures) < 40
    for file, position in (FAILED, NOISE):
        assert any(f"run{file}_results.hdf, bin {position + 1}," in figure for figure in page.figures)


def test_settings_versions_and_times_are_there(page, run):
    manifest = xd.Manifest.read(run / "fits.zarr.manifest.json")
    for text in (manifest.begun, manifest.host, f"numpy {manifest.versions['numpy']}", "absolute_sigma", "4 files, 1"):
        assert text in page.text


def test_where_nothing_can_be_said_it_says_so(tmp_path):
    data = planted().isel(qbin=slice(0, 2))
    noise = data.assign(g2=data["g2"] * 0 + 1 + 1e-3 * np.random.default_rng(0).standard_normal(data["g2"].shape))
    found = Page(report(xd.fit(noise.isel(file=[1, 2]), "simple"), tmp_path / "r.html", figures=False))
    assert "None of 4 curves can be used" in found.text
    assert "D cannot be said for 2 of 2 files" in found.text
    assert "The contrast cannot be said: no curve can be believed." in found.text
    assert [row["D"] for row in found.rows("relaxation")] == ["", ""]


def test_clean_curves_give_no_warning(tmp_path):
    data = planted().isel(file=[1], qbin=[0, 1, 2, 3, 5, 6, 7])
    found = Page(report(xd.fit(data, "simple"), tmp_path / "r.html", figures=False))
    assert "7 of 7 curves can be used." in found.text
    assert "Nothing: every curve has a fit, and no flag speaks against one." in found.text
    assert "No file was rejected." in found.text


def test_curves_of_a_lazy_tree_come_from_the_data_given(few_figures, tmp_path):
    data = planted()
    tree = xr.DataTree.from_dict({"/group_0": data.isel(file=[0]), "/group_1": data.isel(file=[1], qbin=slice(0, 5))})
    found = Page(report(xd.fit(tree, "simple"), tmp_path / "r.html", data=tree))
    assert "13 curves of 2 files" in found.text
    assert "2 groups" in found.text
    assert len(found.rows("curves")) == 13
    assert any(f"{name}, bin" in figure for name in data["file"].values for figure in found.figures)


def test_plain_arrays_are_reported_without_q(few_figures, tmp_path):
    delay = np.geomspace(1e-4, 1, 40)
    noise = 1e-3 * np.random.default_rng(1).standard_normal((5, 40))
    g2 = xr.DataArray(1 + 0.2 * np.exp(-2 * delay / 0.01) + noise, {"delay": delay}, ("row", "delay"))
    found = Page(report(xd.fit(g2, "simple", sigma=1e-3), tmp_path / "r.html"))
    assert "the curves are not ordered in bins of q (no dimension qbin)" in found.text
    assert "the results do not say where its curves are; give them with data=" in found.text
    assert [row["row"] for row in found.rows("curves")] == list("01234")
    assert "The results do not say where their curves came from" in found.text


@pytest.mark.parametrize("state", ["gone", "changed"])
def test_without_the_files_no_curve_is_drawn_and_it_says_so(few_figures, run, page, tmp_path, state):
    files = [shutil.copy(file, tmp_path) for file in sorted((run / "results").glob("run*"))]
    xd.run(inputs=files, output=tmp_path / "fits.zarr", model="simple")
    for file in files:
        if state == "gone":
            Path(file).unlink()
        else:
            write_aps(file, planted().isel(file=[0], qbin=slice(0, 7)))
    found = Page(report(tmp_path / "fits.zarr", tmp_path / "r.html"))
    assert "No curves could be drawn." in found.text
    assert (f"{files[0]} is gone" if state == "gone" else "has changed since it was fitted") in found.text
    assert found.rows("curves") == page.rows("curves")
    assert any(figure.startswith("run0_results.hdf: tau against q") for figure in found.figures)


def test_netcdf_says_the_same(run, page, tmp_path):
    results = xd.open_results(run / "fits.zarr")
    xd.save(results, tmp_path / "fits.nc")
    found = Page(report(tmp_path / "fits.nc", tmp_path / "r.html", figures=False))
    for table in ("curves", "files", "relaxation", "rejected"):
        assert found.rows(table) == page.rows(table)
    assert found.figures == []


def test_slabs_do_not_change_the_page(run, tmp_path, monkeypatch):
    def made():
        source = opened(run / "fits.zarr")
        picks, number = Picks(source.curves), 0
        for slab in slabs.slabs(source):
            picks.add(slab)
            number += 1
        page = Page(report(run / "fits.zarr", tmp_path / "r.html", figures=False))
        return number, picks.chosen(), page.rows("curves"), re.sub(r"in [\d.]+ s\.", "", page.text)

    whole = made()
    monkeypatch.setattr(slabs, "SLAB", 8)
    parts = made()
    assert (whole[0], parts[0]) == (1, 3)
    assert repr(parts[1]) == repr(whole[1])  # NaN equals NaN only as text
    assert parts[2:] == whole[2:]


def test_names_cannot_break_out_of_the_page(few_figures, tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&.hdf"
    data = planted().isel(file=[0]).assign_coords(file=[evil])
    fits = xd.fit(data, "simple").assign_attrs(rejected='[{"file": "<b>x</b>", "reason": "</script><script>y"}]')
    found = Page(report(fits, tmp_path / "r.html", data=data, title="</title><script>alert(3)</script>"))
    assert found.problems == []
    assert all(image["src"].startswith("data:image/png;base64,") for image in found.all("img"))
    # scripts of the page itself: head, four or five tables of two, the glossary, and the code
    assert {attrs.get("id", "code") for attrs in found.all("script")} == {
        "xpcs-head", "glossary", "code", *(f"{kind}-{name}" for kind in ("spec", "data")
                                           for name in ("curves", "files", "relaxation", "rejected")),
    }  # fmt: skip
    assert found.rows("curves")[0]["file"] == evil
    assert found.json("xpcs-head")["title"] == "</title><script>alert(3)</script>"
    assert evil in found.text


def test_thousand_files_fit_into_a_page(fits, tmp_path):
    many = fits.isel(file=np.arange(1000) % 3, qbin=np.arange(36) % 8)
    many = many.assign_coords(
        file=[f"run{at:05d}_results.hdf" for at in range(1000)],
        qbin=np.arange(36),
        q=("qbin", np.linspace(0.004, 0.02, 36)),
    ).drop_vars(["curve_id"])
    path = report(many, tmp_path / "r.html", figures=False)
    assert path.stat().st_size < 8e6
    found = Page(path)
    rows = found.rows("curves")
    assert len(rows) == 36_000
    told = np.array([float(row["tau"] or "nan") for row in rows]).reshape(1000, 36)
    np.testing.assert_array_equal(told, many["value"].sel(parameter="tau").values)
    assert len(found.rows("files")) == len(found.rows("relaxation")) == 1000
    assert found.source.count("<tr") < 200


def test_of_too_many_curves_whole_files_are_listed(fits, tmp_path, monkeypatch):
    monkeypatch.setattr("xpcs_dask.reporting.listed.ROWS", 10)
    found = Page(report(fits, tmp_path / "r.html", figures=False))
    assert {row["file"] for row in found.rows("curves")} == {"run0_results.hdf"}
    assert "those of one file in 3 are listed" in found.text
    assert "24 curves of 3 files" in found.text


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("nowhere.zarr",), FileRejected, "no such file"),
        ((xr.Dataset({"x": 1}),), NoUsableInputError, "holds no fitted curve"),
        ((3,), ConfigError, "not int"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        report(*arguments, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_laws_that_make_no_sense_are_refused(fits, tmp_path):
    with pytest.raises(ConfigError, match="is none of"):
        report(fits, tmp_path / "r.html", law="magic")
    with pytest.raises(ConfigError, match="a report tells D and the exponent"):
        report(fits, tmp_path / "r.html", law="power")
    with pytest.raises(ConfigError, match="ballistic"):
        report(fits, tmp_path / "r.html", law="ballistic")


def test_only_a_report_is_replaced(fits, tmp_path):
    page = tmp_path / "r.html"
    report(fits, page, figures=False, title="first")
    report(fits, page, figures=False, title="second")
    assert "second" in Page(page).text
    page.write_text("<p>my thesis</p>")
    with pytest.raises(OutputExistsError, match="it is no report"):
        report(fits, page)
    assert page.read_text() == "<p>my thesis</p>"


def test_it_is_a_verb_of_the_package(fits, tmp_path):
    assert xd.report is report
    assert xd.report(fits, tmp_path / "sub" / "r.html", figures=False).exists()


def test_a_diffusion_coefficient_from_few_bins_is_told_with_what_it_lacks(tmp_path):
    data = planted().isel(file=[1], qbin=[2, 3])
    found = Page(report(xd.fit(data, "simple"), tmp_path / "r.html", figures=False))
    told = sentence(found, "run00001: D =")
    assert "from 2 of 2 bins" in told
    assert "Mind: few bins: the scatter tells little" in told or "Mind: one bin holds more than half" in told


def test_two_relaxation_times_of_a_file_are_two_cases(tmp_path):
    data = planted().isel(file=[1], qbin=[4])  # noise
    found = Page(report(xd.fit(data, "double"), tmp_path / "r.html", figures=False))
    assert "D cannot be said for 2 of 2 cases (run00001, tau1, run00001, tau2)" in found.text


def drawn_in(tmp_path, model):
    """Text of the report of some curves with a decay that `model` fits, and their names of figures."""
    data = xd.simulate.curves(1, [0.005, 0.008], diffusion=1e6, frames=20_000, seed=3)
    page = Page(report(xd.fit(data, model, bounds={"tau": (1e-5, 1)}).compute(), tmp_path / "p.html", data=data))
    return page.text, [str(image["alt"]) for image in page.all("img")]


@pytest.mark.usefixtures("few_figures")
def test_curves_of_a_modified_model_are_drawn_with_their_band(tmp_path):
    text, pictures = drawn_in(tmp_path, "simple+vibration")
    assert any(name.startswith("g2 against delay") for name in pictures)
    assert "Not drawn" not in text


def ballistic(t, contrast, tau, slope, baseline):
    """A function of a user that is called like a model."""
    return baseline + contrast * np.exp(-t / tau) + slope * t


@pytest.mark.usefixtures("few_figures")
def test_curves_of_a_function_of_a_user_are_drawn_without_its_fit(tmp_path):
    text, pictures = drawn_in(tmp_path, ballistic)
    assert any(name.startswith("g2 against delay") for name in pictures)
    assert "so the fit is not drawn" in text
    assert "Not drawn" not in text


def test_a_number_that_rests_on_doubtful_bins_is_told_with_a_remark(fits, tmp_path):
    flags, stderr = fits["flags"].copy(deep=True), fits["stderr"].copy(deep=True)
    flags.values[0] |= np.uint32(xd.Flag.POOR_FIT)
    flags.values[1, -2:] |= np.uint32(xd.Flag.POOR_FIT)
    stderr.values[0, -1, 1] = np.nan  # doubtful too, but it has no say
    changed = fits.assign(flags=flags, stderr=stderr)
    found = xd.dispersion(changed)
    assert (found["excluded"].values[1, -2:] == 0).all()
    used = int(found["n_used"][0])
    assert used < int(xd.dispersion(fits)["n_used"][0])
    page = Page(report(changed, tmp_path / "r.html", figures=False))
    remark = f"{used} of the {used} bins used are doubtful"
    assert [remark in row["remarks"] for row in page.rows("relaxation")] == [True, False, False]
    assert "bins used are doubtful" not in page.rows("relaxation")[1]["remarks"]
