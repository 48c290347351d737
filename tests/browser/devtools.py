"""A page in headless Chromium, driven through its DevTools protocol with tornado alone.

``chromium --headless --screenshot`` shows an empty dashboard: Bokeh draws what comes over a websocket, and that flag
waits for nothing of it. So the page is opened, asked until it holds what is looked for, and photographed then.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1400,900", "--remote-debugging-port=0",
)  # fmt: skip
LARGEST = 2**27
"""Bytes of one message: a screenshot is a message."""


def chromium() -> str | None:
    """Where Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page of a browser."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.errors: list[str] = []
        """What the page raised, or wrote to the console as an error."""
        self.requests: list[str] = []
        """Addresses that the page asked for, with those of websockets."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its result."""
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while (text := await self._socket.read_message()) is not None:
            message = json.loads(text)
            self._hear(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
        raise RuntimeError(f"{method}: the browser has gone")

    def _hear(self, message: dict[str, Any]) -> None:
        """Keep what is said of errors and requests."""
        told, what = message.get("params", {}), message.get("method")
        of_console = what == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert")
        if what == "Runtime.exceptionThrown" or of_console or _is_error(what, told):
            self.errors.append(json.dumps(told)[:500])
        elif what == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif what == "Network.webSocketCreated":
            self.requests.append(told["url"])

    async def open(self, url: str) -> None:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def ask(self, expression: str) -> Any:
        """Value of a JavaScript expression; None where it raises, as on a page that is not loaded yet."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return None if "exceptionDetails" in found else found["result"].get("value")

    async def resize(self, width: int, height: int) -> None:
        """Give the page the size of another window."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def click(self, x: float, y: float) -> None:
        """Press and release the mouse, at pixels of the window."""
        await self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, **(text if kind == "keyDown" else {})
            )

    async def photograph(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


def _is_error(what: str | None, told: dict[str, Any]) -> bool:
    """Whether the browser itself complains, as of something that could not be loaded."""
    return what == "Log.entryAdded" and told["entry"]["level"] == "error"


@asynccontextmanager
async def page(profile: Path, seconds: float = 60) -> AsyncIterator[Page]:
    """Start a browser with an empty profile in the folder `profile`, give its page, and end it."""
    program = chromium()
    assert program is not None
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []), f"--user-data-dir={profile}"]
    process = subprocess.Popen([program, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        socket = await websocket_connect(await _address(profile, process, seconds), max_message_size=LARGEST)
        try:
            yield Page(socket)
        finally:
            socket.close()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _address(profile: Path, process: subprocess.Popen[bytes], seconds: float) -> str:
    """Where the page listens, as soon as the browser says so."""
    told, end = profile / "DevToolsActivePort", time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the browser ended at once, with code {process.returncode}")
        port = told.read_text().split()[:1] if told.exists() else []
        if port:
            answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port[0]}/json")
            found = [one for one in json.loads(answer.body) if one["type"] == "page"]
            if found:
                return found[0]["webSocketDebuggerUrl"]
        await asyncio.sleep(0.1)
    raise TimeoutError(f"the browser did not start within {seconds:g} s")
