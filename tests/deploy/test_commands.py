"""Every command in the pages of deploy/ is one that the program takes: verbs, options, schedulers, profiles, files."""

import re

import dask
import pytest
import yaml

from tests.deploy.shipped import DEPLOY, FOLDERS, command_lines, our_commands, read
from xpcs_dask.cluster.connect import parse
from xpcs_dask.cluster.profile import read_profile

PAGES = {folder: DEPLOY / folder / "README.md" for folder in FOLDERS}
OURS = [(folder, words) for folder, page in PAGES.items() for words in our_commands(page)]


def said(value):
    folder, words = value
    return f"{folder}: {' '.join(words)}"


@pytest.mark.parametrize("case", OURS, ids=said)
def test_the_program_takes_it(case, monkeypatch):
    folder, words = case
    told = read(words)
    profiles = DEPLOY / folder / "xpcs_dask.yaml"
    settings = yaml.safe_load(profiles.read_text()) if profiles.exists() else {}
    with dask.config.set(settings):
        if words[0] == "xpcs-dask" and told.get("scheduler"):
            parse(str(told["scheduler"]))
        if told.get("profile"):
            assert read_profile(str(told["profile"])).name in settings["xpcs_dask"]["profiles"]


def test_pages_show_commands_at_all():
    shown = {folder for folder, _ in OURS}
    assert shown == {"docker", "pbs", "slurm", "tls"}
    verbs = {read(words).get("verb") for _, words in OURS}
    assert {"fit", "submit"} <= verbs


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_in_commands_are_there(folder):
    """Those of the folder, or of the repository."""
    named = 0
    for words in command_lines(PAGES[folder]):
        for word in words:
            if re.fullmatch(r"(\./)?[\w/.-]+\.(sh|yaml|py)|deploy/\S+", word) and word != "run.yaml":
                assert (PAGES[folder].parent / word).exists() or (DEPLOY.parent / word).exists(), word
                named += 1
    assert named or folder == "prefect"


def test_scripts_are_started_as_they_say_themselves():
    """The line of use in the head of a script is on its page, too."""
    for script in [*DEPLOY.glob("slurm/*.sh"), *DEPLOY.glob("pbs/*.sh")]:
        [use] = re.findall(r"^#   ((?:sbatch|qsub) .*)$", script.read_text(), re.M)
        assert f"    {use}\n" in (script.parent / "README.md").read_text()


@pytest.mark.parametrize("line", ["xpcs-dask fit a --skeduler threads", "xpcs-dask fitt a", "dask worker --threads 1"])
def test_a_wrong_command_would_be_seen(line):
    with pytest.raises(Exception, match=r"(?i)no such") as caught:
        read(line.split())
    assert "UsageError" in {kind.__name__ for kind in type(caught.value).__mro__}


def test_a_command_that_is_none_of_ours_is_not_read():
    with pytest.raises(LookupError):
        read(["ls", "-l"])
