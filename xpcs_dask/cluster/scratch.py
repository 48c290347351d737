"""Where workers put what does not fit into memory: a disk of the machine itself, if there is one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["fault_of", "file_system", "scratch_here"]

MEMORY = {"tmpfs", "ramfs"}
NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs", "panfs", "orangefs"),
    *("pvfs2", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.ceph", "dvs", "vast"),
}
MOUNTS = Path("/proc/mounts")
VARIABLES = ("SLURM_TMPDIR", "PBS_JOBFS", "TMPDIR")


def scratch_here(given: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return the folder for spilled data: `given`, else the first of `VARIABLES` that is set, else /tmp."""
    variables = os.environ if environment is None else environment
    if given:
        return os.path.expandvars(os.path.expanduser(given))
    return next((variables[name] for name in VARIABLES if variables.get(name)), tempfile.gettempdir())


def file_system(path: str | os.PathLike[str], mounts: Path = MOUNTS) -> str:
    """Type of the file system that holds `path`, such as ``ext4``; empty where the machine does not tell."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    place, best, kind = os.path.realpath(path), "", ""
    for line in lines:
        words = line.split()
        if len(words) < 3:
            continue
        mount = words[1].encode().decode("unicode_escape")  # blanks are \040 there
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):  # a later mount hides an earlier one at the same place
            best, kind = mount, words[2]
    return kind


def fault_of(path: str | os.PathLike[str], mounts: Path = MOUNTS) -> str:
    """Return what is wrong with `path` for spilled data, or nothing."""
    kind = file_system(path, mounts)
    if kind in MEMORY:
        return f"{path} is in memory ({kind}): what is spilled there frees none"
    if kind in NETWORK:
        return f"{path} is on a network file system ({kind}): spilling there is slow, and locks may hang"
    return ""
