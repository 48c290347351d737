"""The blocks of a page, run as a reader would paste them: bash in one shell, Python in one session, in their order."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SESSION = """
import json, sys, traceback
names = {"__name__": "__main__"}
answers = sys.stdout
for line in sys.stdin:
    said, failed = [], ""
    class Heard:
        write, flush = staticmethod(said.append), staticmethod(lambda: None)
    sys.stdout = Heard
    try:
        exec(compile(json.loads(line), "<page>", "exec"), names)
    except BaseException:
        failed = traceback.format_exc()
    sys.stdout = answers
    print(json.dumps([failed, "".join(said)]), flush=True)
"""
"""A Python that takes one block a line, and answers with what failed and what was printed."""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks that can be run."""
    return re.findall(r"^```(bash|python)\n(.*?)^```", page, re.M | re.S)


class Reader:
    """Someone with a shell in a folder, who opens one Python from it when the page comes to that."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._state = folder / ".shell"
        lines = [f"cd {shlex.quote(str(folder))}", *(f"export {k}={shlex.quote(v)}" for k, v in variables.items())]
        self._state.write_text("\n".join(lines) + "\n")
        self._python: subprocess.Popen[str] | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._python is not None:
            self._python.communicate(timeout=60)

    def walk(self, page: Sequence[tuple[str, str]]) -> Iterator[str]:
        """What each block prints; raises `AssertionError` with the block that failed."""
        for language, text in page:
            yield self._bash(text) if language == "bash" else self._say(text)

    def _bash(self, text: str) -> str:
        """Run a block in the folder and with the variables that the blocks before it left."""
        state = shlex.quote(str(self._state))
        script = f'set -eo pipefail\n. {state}\n{text}\n{{ export -p; echo "cd $(printf %q "$PWD")"; }} > {state}\n'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=1200)
        assert done.returncode == 0, f"{text}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _say(self, text: str) -> str:
        """Give a block to Python."""
        if self._python is None:
            command = f". {shlex.quote(str(self._state))}; exec python -c {shlex.quote(SESSION)}"
            self._python = subprocess.Popen(
                ["bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(text) + "\n")
        self._python.stdin.flush()
        failed, said = json.loads(self._python.stdout.readline())
        assert not failed, f"{text}\n{failed}"
        return said
