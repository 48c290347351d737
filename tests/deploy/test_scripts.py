"""Every shell script is one that a shell can read, and that shellcheck has nothing to say about."""

import os
import re
import shutil
import subprocess

import pytest

from tests.deploy.shipped import DEPLOY, FOLDERS, name_of, scripts


@pytest.mark.parametrize("script", scripts(), ids=name_of)
def test_bash_reads_it(script):
    subprocess.run(["bash", "-n", script], check=True, timeout=30)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck (apt-get install shellcheck)")
def test_shellcheck_finds_nothing():
    told = subprocess.run(["shellcheck", *scripts()], check=False, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_says_what_was_run_and_what_was_only_checked(folder):
    text = " ".join((DEPLOY / folder / "README.md").read_text().split())
    said = re.findall(r"\*\*(Run|A static check)\*\*:", text)
    assert said
    for test in re.findall(r"`(tests/\S+?\.py)`", text):
        assert (DEPLOY.parent / test).exists(), test


def test_the_table_names_every_folder():
    folders = {path.name for path in DEPLOY.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FOLDERS)
    linked = re.findall(r"^\| \[(\w+)\]\((\S+)\) \|", (DEPLOY / "README.md").read_text(), re.M)
    assert linked == [(name, f"{name}/README.md") for name, _ in linked]
    assert {name for name, _ in linked} == folders


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_links_of_the_pages_lead_somewhere(folder):
    page = DEPLOY / folder / "README.md"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
