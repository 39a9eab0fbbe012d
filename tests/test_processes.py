"""Four processes on one folder, undisturbed and under kill -9: the store stays sound and ends empty."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docstore import DocStore
from docstore.testing import HashEmbedder
from tests.emptying import assert_ends_empty

ROOT = Path(__file__).parent.parent
SECONDS = float(os.environ.get("DOCSTORE_HAMMER_SECONDS", "6"))


def start(folder: Path, seed: int, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.hammer", str(folder), str(seed), str(seconds)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def assert_sound(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.verify().problems == ()
        for name in store.workspaces():
            workspace = store.workspace(name)
            held = {document.hash for document in workspace.documents()}
            assert {hit.document for hit in workspace.search("text", k=10_000)} == held


def test_four_processes_on_one_folder(folder: Path) -> None:
    crowd = [start(folder, seed, SECONDS) for seed in range(4)]
    outcomes = [process.communicate() for process in crowd]
    assert [error for _, error in outcomes] == [""] * 4
    assert_sound(folder)
    with DocStore(folder, embedder=HashEmbedder()) as store:
        for seed, (output, _) in enumerate(outcomes):
            assert sorted(each.hash for each in store.workspace(f"own-{seed}").documents()) == json.loads(output)
    assert_ends_empty(folder)


def test_kill_nine_at_any_moment(folder: Path) -> None:
    generator = random.Random(7)
    DocStore(folder, embedder=HashEmbedder()).close()
    end = time.monotonic() + 2 * SECONDS
    crowd = {seed: start(folder, seed, 3600) for seed in range(4)}
    kills = 0
    while time.monotonic() < end:
        time.sleep(generator.uniform(0.2, 1.2))
        seed = generator.choice(sorted(crowd))
        assert crowd[seed].poll() is None, crowd[seed].communicate()
        crowd[seed].kill()
        crowd[seed].communicate()
        kills += 1
        crowd[seed] = start(folder, seed, 3600)
        if kills % 4 == 0:
            assert_sound_beside_others(folder)
    for process in crowd.values():
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
    assert_sound(folder)
    assert_ends_empty(folder)


def assert_sound_beside_others(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        assert store.verify().problems == ()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes through /proc")
def test_workers_die_with_their_parent(folder: Path) -> None:
    script = (
        "import sys, time; from docstore import DocStore; from docstore.testing import HashEmbedder\n"
        "store = DocStore(sys.argv[1], embedder=HashEmbedder()); store.workspace('a').add(b'note')\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 5
    while _is_alive(children[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(children[0])


def _is_alive(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # it has ended, and nobody has asked how


def test_a_forked_child_opens_its_own_connections(folder: Path) -> None:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        alice = store.workspace("alice")
        alice.add(b"before the fork")
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                alice.add(b"in the child")
                code = 0 if len(alice.search("fork child", k=9)) == 2 else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert {hit.text for hit in alice.search("fork child", k=9)} == {"before the fork", "in the child"}
        alice.add(b"after the fork")
        assert store.verify().ok
