"""Repair: what can be restored is, what cannot is set aside, and nothing gets worse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from docstore import DocStore, RepairReport, StoreReadOnly
from docstore.lifecycle import repair as repair_module
from docstore.lifecycle import salvage as salvage_module
from docstore.testing import HashEmbedder
from tests.folders import execute, files, lie, problems, query
from tests.samples import pdf

NOTE = "The store room key hangs behind the door.\n"


@pytest.fixture
def filled(folder: Path) -> Path:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        store.workspace("alice").add(NOTE.encode(), name="note.txt")
        store.workspace("bob").add(NOTE.replace("\n", "\r\n").encode())  # other bytes, the same text
        store.workspace("bob").add(pdf(["Switch it on.", "Switch it off."]), name="manual.pdf")
    return folder


def repaired(folder: Path, *, dry_run: bool = False) -> RepairReport:
    with DocStore(folder, embedder=HashEmbedder()) as store:
        return store.repair(dry_run=dry_run)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: (folder / path).read_bytes() for path in files(folder)}


def test_a_sound_store_is_left_alone(filled: Path) -> None:
    before = snapshot(filled)
    assert repaired(filled).repairs == ()
    assert snapshot(filled) == before


@pytest.mark.parametrize("below", ["texts", "embeddings"])
@pytest.mark.parametrize("lost", [False, True])
def test_what_derives_from_documents_is_restored_byte_for_byte(filled: Path, below: str, lost: bool) -> None:
    before = snapshot(filled)
    for path in files(filled, below):
        (filled / path).unlink() if lost else damage(filled / path)
    preview = repaired(filled, dry_run=True)
    assert preview.ok and len(preview.repairs) == len(files_in(before, below))
    report = repaired(filled)
    assert [(each.action, each.path) for each in report.repairs] == [
        (each.action, each.path) for each in preview.repairs
    ]
    assert {each.action for each in report.repairs} == {"restored"}
    assert snapshot(filled) == before
    assert problems(filled) == []


def files_in(snapshot: dict[Path, bytes], below: str) -> list[Path]:
    return [path for path in snapshot if path.parts[0] == below]


def test_a_text_and_its_index_lost_together_come_back(filled: Path) -> None:
    before = snapshot(filled)
    for below in ("texts", "embeddings"):
        shutil.rmtree(filled / below)
    assert repaired(filled).ok
    assert snapshot(filled) == before


def test_a_damaged_blob_is_set_aside_and_healed_by_adding_it_again(filled: Path) -> None:
    (blob,) = [path for path in files(filled, "documents") if path.suffix == ".pdf"]
    whole = (filled / blob).read_bytes()
    damage(filled / blob)
    broken = (filled / blob).read_bytes()
    assert not repaired(filled, dry_run=True).ok
    assert (filled / blob).read_bytes() == broken
    (repair,) = repaired(filled).repairs
    assert (repair.action, repair.path, repair.workspaces) == ("quarantined", str(blob), ("bob",))
    assert repair.documents == (blob.stem,)
    assert (filled / "quarantine" / blob).read_bytes() == broken
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert store.workspace("bob").search("Switch")  # text and vectors are intact
        assert [each.kind for each in store.verify().problems] == ["missing"]
        assert not store.repair().ok
        assert store.workspace("carol").add(whole).reused
        assert store.verify().ok
        assert store.repair().repairs == ()
        with store.read(blob.stem) as file:
            assert file.read() == whole


def test_a_blob_and_its_text_lost_together_are_both_named(filled: Path) -> None:
    (blob,) = [path for path in files(filled, "documents") if path.suffix == ".pdf"]
    whole = (filled / blob).read_bytes()
    text = query(filled, "SELECT t.hash FROM texts t JOIN documents d ON text_id = t.id WHERE d.hash = ?", blob.stem)
    damage(filled / blob)
    damage(filled / "texts" / text[0][0][:2] / f"{text[0][0]}.zst")
    assert {each.action for each in repaired(filled).repairs} == {"quarantined"}
    with DocStore(filled, embedder=HashEmbedder()) as store:
        store.workspace("bob").add(whole)
        assert store.verify().ok


def test_a_text_comes_back_from_any_document_that_has_it(filled: Path) -> None:
    (text,) = query(
        filled, "SELECT t.hash FROM texts t WHERE (SELECT count(*) FROM documents WHERE text_id = t.id) = 2"
    )
    (first, _) = query(filled, "SELECT hash FROM documents WHERE media_type = 'text/plain' ORDER BY id")
    damage(filled / "documents" / first[0][:2] / f"{first[0]}.txt")
    damage(filled / "texts" / text[0][:2] / f"{text[0]}.zst")
    actions = {each.path.split("/")[0]: each.action for each in repaired(filled).repairs}
    assert actions == {"documents": "quarantined", "texts": "restored"}


def test_an_index_of_another_pipeline_waits_for_that_pipeline(filled: Path) -> None:
    for path in files(filled, "embeddings"):
        damage(filled / path)
    with DocStore(filled, embedder=HashEmbedder(32)) as store:
        found = store.repair()
    assert {each.action for each in found.repairs} == {"unrepaired"}
    assert "embedder" in found.repairs[0].detail
    assert repaired(filled).ok


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE documents SET refcount = refcount + 1",
        "UPDATE workspaces SET refs = refs + 3",
        "UPDATE totals SET documents = 99, file_bytes = 1, logical_bytes = -5, workspaces = 0, refs = 7, chunks = 0",
        "UPDATE totals SET workspaces_made = 1",
        "DELETE FROM sqlite_sequence",
        "DELETE FROM checks",
        "DROP TRIGGER refs_delete",
        "CREATE TRIGGER theirs AFTER INSERT ON refs BEGIN DELETE FROM refs; END",
        "CREATE VIEW theirs AS SELECT * FROM refs",
        "DROP INDEX refs_by_document",
        "CREATE INDEX theirs ON refs(name)",
    ],
)
def test_what_follows_from_rows_is_corrected(filled: Path, lie: str) -> None:
    honest = query(filled, "SELECT hash, refcount FROM documents"), query(filled, "SELECT * FROM totals")
    execute(filled, lie)
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert not store.verify().ok
        preview = store.repair(dry_run=True)
        assert not store.verify().ok  # the preview changed nothing
        report = store.repair()
        assert report.ok and preview == report, report
        assert store.verify().ok
        assert store.repair().repairs == ()
    after = query(filled, "SELECT hash, refcount FROM documents"), query(filled, "SELECT * FROM totals")
    assert after[0] == honest[0]
    assert after[1][0][:9] == honest[1][0][:9]  # what follows: sweeps may have been asked for


def test_a_reference_to_nothing_goes_and_is_kept_for_reading(filled: Path) -> None:
    lie(filled, """INSERT INTO refs SELECT id, 999, 'lost.pdf', '{"year":2024}', 'x', 0 FROM workspaces
                   WHERE name = 'bob'""")  # fmt: skip
    report = repaired(filled)
    assert report.ok
    assert any(each.workspaces == ("bob",) for each in report.repairs)
    (line,) = (filled / "quarantine" / "rows.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "lost.pdf"
    with DocStore(filled, embedder=HashEmbedder()) as store:
        assert store.verify().ok
        assert len(store.workspace("bob").documents()) == 2


def test_a_table_that_is_not_ours_is_not_touched(filled: Path) -> None:
    execute(filled, "CREATE TABLE theirs (x)")
    before = snapshot(filled)
    (repair,) = repaired(filled).repairs
    assert (repair.action, repair.path) == ("unrepaired", "theirs")
    assert query(filled, "SELECT count(*) FROM theirs") == [(0,)]
    assert snapshot(filled) == before


def test_readonly_previews_only(filled: Path) -> None:
    execute(filled, "UPDATE documents SET refcount = 9")
    with DocStore(filled, embedder=HashEmbedder(), readonly=True) as store:
        with pytest.raises(StoreReadOnly):
            store.repair()
        assert not store.repair(dry_run=True).ok


def test_a_file_that_was_healed_meanwhile_stays(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (blob,) = [path for path in files(filled, "documents") if path.suffix == ".pdf"]
    whole = (filled / blob).read_bytes()
    damage(filled / blob)
    real = repair_module._by_text

    def healed(findings: Any) -> Any:
        (filled / blob).write_bytes(whole)
        return real(findings)

    monkeypatch.setattr(repair_module, "_by_text", healed)
    assert [each.action for each in repaired(filled).repairs] == ["unrepaired"]
    assert (filled / blob).read_bytes() == whole


def test_what_changed_before_the_lock_is_not_set_aside(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (blob,) = [path for path in files(filled, "documents") if path.suffix == ".pdf"]
    damage(filled / blob)
    real = salvage_module.free

    with DocStore(filled, embedder=HashEmbedder()) as other:

        def collected(path: Path) -> Path:
            other.workspace("bob").remove(blob.stem)
            other.collect()
            return real(path)

        monkeypatch.setattr(repair_module, "free", collected)
        (repair,) = repaired(filled).repairs
    assert (repair.action, "changed meanwhile" in repair.detail) == ("unrepaired", True)
