"""What a person sees and does in `xpcs-dask view`: a real browser, a real page, a file of 36 q bins."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time

import numpy as np
import pytest

import xpcs_dask as xd
from tests.browser.devtools import chromium, page
from xpcs_dask.simulate import write_series

pytest.importorskip("panel")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 90
"""In which the page has to show what is looked for."""
CHANGES = ["simple", "single", "double", "single"] * 3
"""Models that are chosen one after the other."""
CHANGE = """
new Promise((resolve) => {
  const shown = Bokeh.documents[0], line = shown.get_model_by_name("line");
  const text = () => Array.from(line.data.y).join();
  const before = text();
  let chosen = null;
  for (const model of shown._all_models.values())
    if (model.attributes.title === TITLE && "value" in model.attributes) chosen = model;
  const begun = performance.now();
  const hear = () => {
    if (text() === before) return;
    line.properties.data.change.disconnect(hear);
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - begun)));
  };
  line.properties.data.change.connect(hear);
  chosen.value = VALUE;
  setTimeout(() => resolve(-1), 30000);
})
"""
"""Change a widget; milliseconds until another fit has come and the browser has painted it."""
PLACE = """
(() => {
  const shown = Bokeh.documents[0], seen = Bokeh.index.find_one(shown.get_model_by_name(FIGURE));
  const data = shown.get_model_by_name(SOURCE).data, box = seen.canvas_view.el.getBoundingClientRect();
  return [box.x + seen.frame.x_scale.compute(data[X][K]), box.y + seen.frame.y_scale.compute(data[Y][K])];
})()
"""
"""Pixels of the window at which a point is drawn."""
TEXTS = """
(() => {
  const found = [], look = (node) => {
    for (const one of node.querySelectorAll("*")) {
      if (one.shadowRoot) look(one.shadowRoot);
      if (one.classList.contains("badge") || one.getAttribute("role") === "alert") found.push(one.textContent);
    }
  };
  look(document);
  return found;
})()
"""
"""What badges and messages say."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data of 36 q bins, and the store of their fits."""
    folder = tmp_path_factory.mktemp("view")
    files = write_series(folder / "files", 2, seed=5, q=list(np.linspace(0.003, 0.03, 36)), frames=20_000)
    return files, xd.save(xd.fit(xd.open_g2(files), "single", detail="core"), folder / "fits.zarr")


@pytest.fixture
def address(made):
    """Of the page that the command serves."""
    command = [sys.executable, "-m", "xpcs_dask", "view", str(made[1]), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("Address: "):
                    yield line.removeprefix("Address: ").strip()
                    break
        finally:
            process.terminate()
    assert process.returncode == 0


def filled(template, **values):
    for name, value in values.items():
        template = template.replace(name, json.dumps(value))
    return template


async def until(viewed, expression, wanted):
    """Ask the page until the answer is the wanted one."""
    end, answer = time.monotonic() + SECONDS, None
    while time.monotonic() < end:
        answer = await viewed.ask(expression)
        if answer is not None and wanted(answer):
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError(f"{expression[:80]} is still {answer}")


def drawn(name, column):
    return f"Array.from(Bokeh.documents[0].get_model_by_name('{name}').data.{column})"


async def change(viewed, title, value):
    found = await viewed.call(
        "Runtime.evaluate", expression=filled(CHANGE, TITLE=title, VALUE=value), returnByValue=True, awaitPromise=True
    )
    return found["result"]["value"]


async def click(viewed, figure, source, x, y, k):
    await viewed.click(*await viewed.ask(filled(PLACE, FIGURE=figure, SOURCE=source, X=x, Y=y, K=k)))


async def visit(address, tmp_path):
    """Do everything once, and return what was seen."""
    seen = {}
    async with page(tmp_path / "profile") as viewed:
        await viewed.open(address)
        await until(viewed, drawn("line", "y"), len)
        await until(viewed, "Bokeh.documents[0].get_model_by_name('g2').inner_width", bool)
        seen["first"] = await viewed.ask(TEXTS)
        seen["milliseconds"] = []
        for model in CHANGES:
            seen["milliseconds"].append(await change(viewed, "Model", model))
            seen[model] = await viewed.ask(drawn("line", "x")), await viewed.ask(drawn("line", "y"))
            await asyncio.sleep(0.3)  # a person does not choose faster
        await change(viewed, "Model", "simple")
        seen["badge"] = await until(viewed, TEXTS, lambda texts: texts == ["Refit, not in the store"])
        await click(viewed, "g2", "points", "x", "y", 5)
        seen["why"] = await until(viewed, drawn("points", "why"), lambda why: "excluded by hand" in why)
        seen["hand"] = await until(viewed, drawn("line", "y"), lambda y: y != seen["simple"][1])
        await click(viewed, "over-q-log", "bins", "q", "value", 2)
        title = "Bokeh.documents[0].get_model_by_name('g2').title.text"
        await until(viewed, title, lambda text: "q bin 3," in text)
        await viewed.press("ArrowRight")
        await until(viewed, title, lambda text: "q bin 4," in text)
        await viewed.ask(
            "for (const model of Bokeh.documents[0]._all_models.values())"
            "  if (model.attributes.title === 'From delay (s)') model.value = 'soon';"
        )
        seen["message"] = await until(viewed, TEXTS, lambda texts: len(texts) > 1)
        await viewed.press("n")
        seen["title"] = await until(viewed, title, lambda text: text.startswith("X00001"))
        await viewed.photograph(tmp_path / "view.png")
        seen |= {"errors": viewed.errors, "requests": viewed.requests}
    return seen


def test_a_change_is_a_refit_of_all_bins_that_is_drawn_at_once(made, address, tmp_path):
    seen = asyncio.run(visit(address, tmp_path))
    print("\nmilliseconds from the change to what is drawn:", [round(t) for t in seen["milliseconds"]],
          "median", round(statistics.median(seen["milliseconds"])))  # fmt: skip
    assert min(seen["milliseconds"]) > 0
    assert seen["first"] == ["Fit of the store"]
    data = xd.open_g2(made[0][0], chunks=None)
    middle = 18
    for model in ("simple", "single", "double"):
        record, (x, y) = xd.MODELS[model], seen[model]
        value = xd.fit(data, model)["value"].values[0, middle]
        np.testing.assert_allclose(y, record.evaluate(np.array(x), *value), rtol=1e-12)
    assert seen["why"].count("excluded by hand") == 1
    assert seen["why"][5] == "excluded by hand"
    without = data["g2"].copy(deep=True)
    without[0, middle, 5] = np.nan
    value = xd.fit(data.assign(g2=without), "simple")["value"].values[0, middle]
    np.testing.assert_allclose(
        seen["hand"], xd.MODELS["simple"].evaluate(np.array(seen["simple"][0]), *value), rtol=1e-12
    )
    assert "first delay: 'soon' is not a number" in seen["message"][1]
    assert seen["errors"] == []
    own = address.removeprefix("http://").split("/")[0]
    others = [
        url for url in seen["requests"] if not url.startswith((f"http://{own}/", f"ws://{own}/", "data:", "blob:"))
    ]
    assert others == []
    assert sum(url.startswith("ws://") for url in seen["requests"]) == 1
    assert (tmp_path / "view.png").stat().st_size > 40_000
