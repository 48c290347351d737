"""What a person sees on the dashboard while a fit is streamed: a real browser, a real page."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import xpcs_dask as xd
from tests.browser.devtools import chromium, page
from xpcs_dask.cluster import connect
from xpcs_dask.simulate import speckle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SECONDS = 90
"""In which the page has to show what is looked for."""
SOURCES = """
(() => {
  const found = [];
  for (const document of Bokeh.documents)
    for (const model of document._all_models.values())
      if (model.type === "ColumnDataSource") found.push(model.data);
  const list = (column) => Array.from(column || []);
  return {
    stream: found.filter((data) => data.worker_thread && data.name).flatMap((data) => list(data.name)),
    bars: found.filter((data) => data.all && data.name).flatMap((data) => list(data.name)),
  };
})()
"""
"""What the figures of the page draw: the name of each task in the task stream, and those of the bars of progress."""


class Seen(Exception):
    """Enough: the stream can stop."""


@pytest.fixture
def results(tmp_path):
    """Some minutes of work, in blocks of about a tenth of a second."""
    pixels = speckle(400, q=[0.008, 0.01, 0.012], pixels=12, frames=256, counts=1.0, clusters=True)
    xd.pack(pixels, tmp_path / "stack.zarr")
    return xd.bootstrap(xd.open_g2(tmp_path / "stack.zarr", chunks=1), model="simple", resamples=20_000)


async def look(link, tmp_path, states):
    """Open the dashboard, and wait until it shows the tasks by name and their number growing."""
    async with page(tmp_path / "profile") as dashboard:
        await dashboard.open(link)
        first, seen, end = 0, {}, time.monotonic() + SECONDS
        while time.monotonic() < end:
            seen = await dashboard.ask(SOURCES) or {}
            drawn = len(seen.get("stream", ()))
            first = first or drawn
            if seen.get("bars") and drawn > first:
                await asyncio.sleep(1)  # the page draws a moment after it knows
                await dashboard.photograph(tmp_path / "dashboard.png")
                return first, seen, await dashboard.ask("location.pathname"), dashboard.errors
            await asyncio.sleep(0.2)
        raise AssertionError(f"nothing of the tasks was seen in {SECONDS} s: {seen}, {states[-1:]}")


def test_tasks_are_seen_by_name_while_they_run(tmp_path, results):
    enough, states = threading.Event(), []

    def listen(state):
        states.append(state)
        if enough.is_set():
            raise Seen

    def run():
        with pytest.raises(Seen):
            xd.stream(results, tmp_path / "fits.zarr", client=connection.client, progress=listen)

    with connect("local:2") as connection:
        work = threading.Thread(target=run)
        work.start()
        try:
            found = asyncio.run(look(connection.dashboard_link, tmp_path, states))
        finally:
            enough.set()
            work.join(60)
    assert not work.is_alive()
    first, seen, place, errors = found
    assert 0 < first < len(seen["stream"]) <= states[-1].blocks
    assert set(seen["stream"]) == set(seen["bars"]) == {"fit_block"}
    assert place == "/status"  # the title is another one where Panel was imported in this process
    assert errors == []
    assert (tmp_path / "dashboard.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "dashboard.png").stat().st_size > 20_000
