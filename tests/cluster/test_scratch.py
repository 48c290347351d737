from __future__ import annotations

import tempfile

import pytest

from xpcs_dask.cluster.scratch import fault_of, file_system, scratch_here

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/nvme0n1 /home/local\\040disk xfs rw 0 0
fs /scratch lustre rw 0 0
proc /homes proc rw 0 0
broken
"""


@pytest.fixture
def mounts(tmp_path):
    file = tmp_path / "mounts"
    file.write_text(MOUNTS)
    return file


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/var/x", "ext4"), ("/tmp/dask", "tmpfs"), ("/home/user", "nfs4"),
     ("/home/local disk/user", "xfs"), ("/homesick", "ext4"), ("/homes", "proc"), ("/scratch/user", "lustre")],
)  # fmt: skip
def test_the_innermost_mount_tells_the_file_system(path, kind, mounts):
    assert file_system(path, mounts) == kind


def test_faults_say_what_is_wrong(mounts):
    assert fault_of("/var/tmp", mounts) == ""
    assert "/tmp/dask is in memory (tmpfs)" in fault_of("/tmp/dask", mounts)
    assert "network file system (nfs4)" in fault_of("/home/user", mounts)
    assert "network file system (lustre)" in fault_of("/scratch/user", mounts)


def test_a_later_mount_hides_an_earlier_one(mounts):
    mounts.write_text(MOUNTS + "/dev/sdb /scratch ext4 rw 0 0\n")
    assert file_system("/scratch/x", mounts) == "ext4"


def test_where_nothing_is_told_nothing_is_wrong(tmp_path):
    assert fault_of("/var", tmp_path / "none") == ""


def test_variables_of_the_batch_system_come_first():
    assert scratch_here("/a", {"SLURM_TMPDIR": "/b"}) == "/a"
    assert scratch_here(None, {"TMPDIR": "/c", "SLURM_TMPDIR": "/b"}) == "/b"
    assert scratch_here(None, {"TMPDIR": "/c", "SLURM_TMPDIR": ""}) == "/c"
    assert scratch_here(None, {}) == tempfile.gettempdir()
