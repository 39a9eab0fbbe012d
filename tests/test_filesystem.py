"""Network file systems are refused; the type comes from what the kernel says of its mounts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from docstore import DocStore, StorageError, filesystem
from docstore.testing import HashEmbedder

# Lines of a real /proc/self/mountinfo, and of one on a machine with an NFS home and an sshfs mount.
MOUNTS = r"""
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw,size=24G
30 21 0:41 / /home rw,relatime shared:16 - nfs4 filer:/export/home rw,vers=4.2,addr=10.0.0.2
31 30 254:3 / /home/local rw,relatime shared:17 - xfs /dev/vdc rw
32 21 0:42 / /mnt/with\040space rw,nosuid - fuse.sshfs me@host:/ rw
33 21 254:4 / /srv rw - ext4 /dev/vdd rw
34 33 0:43 / /srv rw - cifs //server/share rw
""".strip().splitlines()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/data", "ext4"),
        ("/dev/shm/store", "tmpfs"),
        ("/home/me/store", "nfs4"),
        ("/home/local/store", "xfs"),
        ("/home/localhost", "nfs4"),
        ("/mnt/with space/store", "fuse.sshfs"),
        ("/srv/store", "cifs"),
        ("//home/me/store", "nfs4"),
    ],
)
def test_type_of(folder: str, kind: str) -> None:
    assert filesystem.type_of(Path(folder), MOUNTS) == kind


def test_a_store_on_a_network_file_system_is_refused_and_may_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    DocStore(folder, embedder=HashEmbedder()).close()
    table = tmp_path / "mountinfo"
    table.write_text(f"21 1 254:0 / / rw - ext4 /dev/vda rw\n30 21 0:41 / {tmp_path} rw - nfs4 filer:/ rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", table)
    with pytest.raises(StorageError, match=r"network file system \(nfs4\).*local disk"):
        DocStore(folder, embedder=HashEmbedder())
    with DocStore(folder, embedder=HashEmbedder(), readonly=True) as store:
        assert store.workspaces() == []


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="asks findmnt for the truth")
def test_the_type_here_is_what_the_system_says(tmp_path: Path) -> None:
    said = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", tmp_path], capture_output=True, text=True, check=True)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    assert filesystem.type_of(tmp_path, mounts) == said.stdout.split()[-1]  # of several on one place, the uppermost
