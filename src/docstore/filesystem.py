"""Knows network file systems, where SQLite's log and `flock` do not protect what they promise to.

SQLite's documentation of WAL says it: all processes must be on one host, since they share memory. Over a network a
store would seem to work, and be damaged by the first two hosts that write at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from docstore.errors import StorageError

# Types as the Linux kernel names them in mountinfo; with FUSE, what follows the dot.
_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs",
    "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.mfs", "fuse.rclone",
    "fuse.s3fs", "fuse.seaweedfs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "pvfs2", "smb2", "smb3", "smbfs", "virtiofs",
})  # fmt: skip

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def refuse_network(folder: Path) -> None:
    """Does nothing on a local file system, and where the system does not say what it is (no /proc).

    Raises:
        StorageError: `folder`, or where it will be made, is on a network file system.
    """
    kind = _type_now(folder)
    if kind in _NETWORK:
        raise StorageError(
            f"{folder} is on a network file system ({kind}), where SQLite's locks do not hold and two hosts would "
            "damage the store. Put it on a local disk; readonly=True opens it here."
        )


def is_network(folder: Path) -> bool:
    """Whether it is on a network file system. False where the system does not say."""
    return _type_now(folder) in _NETWORK


def _type_now(folder: Path) -> str:
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    return type_of(folder, mounts)


def type_of(folder: Path, mounts: Iterable[str]) -> str:
    """The type of the file system that a path is on.

    Args:
        mounts: lines of /proc/self/mountinfo (proc(5)): mount point in the fifth field, type after a lone hyphen.
    """
    path = Path("/" + os.path.realpath(folder).lstrip("/"))  # POSIX keeps two slashes at the beginning
    above = {str(path), *map(str, path.parents)}
    best, kind = "", ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields = left.split(" ", 5)
        if len(fields) < 5 or not right:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # Of equally long ones the last: it is mounted over the others.
        if point in above and len(point) >= len(best):
            best, kind = point, right.split(" ", 1)[0]
    return kind
