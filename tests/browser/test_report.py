"""A report in a real browser: nothing is asked for, nothing goes wrong, tables sort, filter and copy."""

from __future__ import annotations

import asyncio
import csv
import io
import time

import numpy as np
import pytest

import xpcs_dask as xd
from tests.browser.devtools import chromium, page
from tests.conftest import carried
from tests.reporting.page_reader import Page as Read
from xpcs_dask.reporting import index

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PARTS = ("", "_avg4", "_partial")
SECONDS = 60
READY = "[...document.querySelectorAll('[data-table]')].every((box) => box.dataset.ready)"
ROWS = """
((name) => [...document.querySelectorAll(`[data-table="${name}"] tbody tr`)]
  .map((row) => [...row.children].map((cell) => cell.textContent.trim().replace(/\\s+/g, " "))))
"""
CATCH = "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    files = [carried(f"boost_corr/S0001_bright_a0000_f004096_r00001{part}_results.hdf") for part in PARTS]
    xd.run(inputs=files, output=folder / "fits.zarr", model="simple")
    xd.report(folder / "fits.zarr", folder / "fits.zarr.report.html")
    index([folder / "fits.zarr"], folder / "index.html")
    return folder


async def ready(tab, address):
    """Wait for this page, not for the one that was there before."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if await tab.ask(f"location.href === '{address}' && document.readyState === 'complete' && {READY}"):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the tables did not wake within {SECONDS} s: {tab.errors}")


async def use(run, tmp_path):
    """Do with the page what a person does, and return what was seen."""
    seen = {}
    async with page(tmp_path / "profile") as tab:
        await tab.open((run / "index.html").as_uri())
        await ready(tab, (run / "index.html").as_uri())
        seen["index"] = await tab.ask(f"{ROWS}('runs')")
        seen["link"] = await tab.ask("document.querySelector('[data-table=runs] a').href")
        await tab.open(seen["link"])
        await ready(tab, seen["link"])
        await tab.ask(CATCH)
        seen["first"] = await tab.ask(f"{ROWS}('curves')")
        box = "document.querySelector('[data-table=curves]')"
        head = f"[...{box}.querySelectorAll('th')].find((head) => head.textContent.startsWith('tau'))"
        for order in ("up", "down"):
            await tab.ask(f"{head}.querySelector('button').click()")
            seen[order] = await tab.ask(f"{head}.getAttribute('aria-sort')")
            await tab.ask(f"{box}.querySelector('[data-role=copy]').click()")
            seen[f"{order} csv"] = await tab.ask("window.copied")
        await tab.ask(
            f"(() => {{ const field = {box}.querySelector('[data-role=filter]'); field.value = 'avg4'; "
            "field.dispatchEvent(new Event('input')); })()"
        )
        seen["count"] = await tab.ask(f"{box}.querySelector('[data-role=count]').textContent")
        await tab.ask(f"{box}.querySelector('[data-role=copy]').click()")
        seen["filtered"] = await tab.ask("window.copied")
        await tab.ask("document.querySelector('button.copy').click()")
        seen["command"] = await tab.ask("window.copied")
        seen["wide"] = {}
        for width in (1200, 390):
            await tab.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
            )
            seen["wide"][width] = await tab.ask("document.documentElement.scrollWidth")
        seen["figures"] = await tab.ask("[...document.images].map((one) => one.complete && one.naturalWidth > 300)")
        colours = []
        for scheme in ("light", "dark"):
            await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            colours.append(await tab.ask("getComputedStyle(document.body).backgroundColor"))
        seen["colours"] = colours
        seen["errors"], seen["requests"] = tab.errors, tab.requests
    return seen


def test_a_report_works_and_asks_for_nothing(run, tmp_path):
    seen = asyncio.run(use(run, tmp_path))
    assert seen["errors"] == []
    assert {address.split(":")[0] for address in seen["requests"]} <= {"file", "data"}
    files = {address for address in seen["requests"] if address.startswith("file")}
    assert files == {(run / "index.html").as_uri(), (run / "fits.zarr.report.html").as_uri()}
    assert len(seen["index"]) == 1

    read = Read(run / "fits.zarr.report.html")
    rows = read.rows("curves")
    assert len(seen["first"]) == 25 < len(rows)
    assert all(text in read.text for row in seen["first"] for text in row)

    assert (seen["up"], seen["down"]) == ("ascending", "descending")
    for order, sign in (("up", 1), ("down", -1)):
        copied = list(csv.DictReader(io.StringIO(seen[f"{order} csv"])))
        tau = np.array([float(row["tau"]) for row in copied if row["tau"]])
        assert (np.diff(sign * tau) >= 0).all()
        assert sorted(map(str, copied)) == sorted(map(str, rows))  # every digit of every row

    mine = [row for row in rows if "avg4" in row["file"]]
    assert 0 < len(mine) < len(rows)
    assert seen["count"] == f"1 to {min(25, len(mine))} of {len(mine)}"
    assert len(list(csv.DictReader(io.StringIO(seen["filtered"])))) == len(mine)
    assert seen["command"].startswith("xpcs-dask fit ")
    assert seen["wide"][1200] <= 1200
    assert seen["wide"][390] <= 390
    assert len(seen["figures"]) > 10
    assert all(seen["figures"])
    assert len(set(seen["colours"])) == 2
