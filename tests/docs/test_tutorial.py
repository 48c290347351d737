"""A newcomer's path: the blocks of the tutorial, literally, end with D of the bundled data and intervals that hold."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.walk import Reader, blocks

ROOT = Path(__file__).parents[2]
PAGE = blocks((ROOT / "docs" / "tutorial.md").read_text())
INSTALL = next(n for n, (_, text) in enumerate(PAGE) if "git clone" in text)


def git(*words, folder=ROOT):
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Return a repository whose last commit is the working tree as it is, changes that are not committed included."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: nothing to clone from")
    copy = tmp_path_factory.mktemp("origin") / "origin"
    git("clone", "-q", str(ROOT), str(copy))
    for name in git("ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")[:-1]:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name) if (ROOT / name).exists() else (copy / name).unlink()
    git("add", "-A", folder=copy)
    git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "now", "--allow-empty", folder=copy)
    return copy


def check(said):
    """Look at what the tutorial printed, block by block: curves counted, D told, intervals beside the truth."""
    counts = next(text for text in said if "Curves per second" in text)
    assert int(re.search(r"^Ok: (\d+)", counts, re.M)[1]) > 140
    assert "two-time results only" in counts
    told = [re.search(r"^D = (\S+) angstrom\^2/s, 95 % interval (\S+) to (\S+): (\w+) the truth, (\S+)$", text, re.M)
            for text in said]  # fmt: skip
    told = [found.groups() for found in told if found]
    assert [verdict for *_, verdict, _ in told] == ["holds", "misses", "holds"]  # the second is the file that lies
    for number, (d, low, high, verdict, truth) in enumerate(told):
        assert verdict == ("holds" if float(low) <= float(truth) <= float(high) else "misses")
        assert float(low) < float(d) < float(high)
        assert float(truth) == (4e5 if number == 0 else 1e6)
    assert abs(float(told[0][0]) / 4e5 - 1) < 0.02


def test_the_blocks_after_the_installation(tmp_path):
    """The same as the whole path, here and now: in a folder with the data, with this Python."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("xpcs-dask", "-m xpcs_dask "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    with Reader(tmp_path, PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(ROOT)) as reader:
        check(list(reader.walk(PAGE[INSTALL + 1 :])))
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_whole_path_from_a_fresh_clone(repository, tmp_path):
    variables = {"REPOSITORY": str(repository), "PYTHONPATH": "", "XPCS_DASK_CACHE": str(tmp_path / "cache")}
    with Reader(tmp_path, **variables) as reader:
        said = list(reader.walk(PAGE))
    check(said)
    assert (tmp_path / "xpcs_dask" / ".venv").is_dir()
    assert (tmp_path / "xpcs_dask" / "tau_q.png").stat().st_size > 10_000
