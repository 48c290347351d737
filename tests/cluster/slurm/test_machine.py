from __future__ import annotations

import pytest

pytestmark = pytest.mark.slurm


def test_two_nodes_run_jobs(slurm, tmp_path):
    assert slurm.ask("sinfo", "-h", "-o", "%D %c").split() == ["2", "4"]
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/sh\n#SBATCH -N 2 -n 2 -o {tmp_path}/out\nsrun printenv SLURMD_NODENAME\n")
    slurm.ask("sbatch", "--wait", str(script))
    assert sorted((tmp_path / "out").read_text().split()) == ["n1", "n2"]
