"""What `import docstore` does to the process that imports it: nothing, but that the names are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import docstore


def run(program: str) -> str:
    """What a new process prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_public_name_is_there_and_unknown_ones_are_not() -> None:
    assert all(getattr(docstore, name) is not None for name in docstore.__all__)
    with pytest.raises(AttributeError, match="no attribute 'DocStores'"):
        docstore.DocStores  # noqa: B018  (it is the looking that raises)


def test_importing_the_package_alone_imports_none_of_what_is_heavy() -> None:
    program = "import sys, docstore; print([name for name in ('faiss', 'numpy', 'sqlite3') if name in sys.modules])"
    assert run(program) == "[]"


def test_nothing_looks_for_garbage_while_modules_are_imported_nor_at_them_afterwards() -> None:
    program = """
import gc
looks = []
gc.callbacks.append(lambda phase, info: looks.append(info["generation"]))
import docstore
looks.clear()
docstore.DocStore
print(looks, gc.isenabled(), gc.get_freeze_count() < 1000, len(gc.get_objects(generation=0)) < 5000)
"""
    assert run(program) == "[] True True True"


@pytest.mark.parametrize(
    ("before", "after"),
    [("gc.disable()", "False False"), ("gc.freeze()", "True True")],
    ids=["what is off stays off", "what is frozen stays frozen"],
)
def test_what_an_application_has_told_the_collector_holds(before: str, after: str) -> None:
    program = f"""
import gc, docstore
{before}
docstore.DocStore
print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""
    assert run(program) == after


def test_garbage_of_the_time_of_importing_is_found_later() -> None:
    program = """
import gc, weakref, docstore
class Node: pass
node = Node()
node.itself = node
seen = weakref.ref(node)
gc.disable(); del node; gc.enable()
docstore.DocStore
gc.collect()
print(seen())
"""
    assert run(program) == "None"


def test_a_failed_import_leaves_the_collector_on() -> None:
    program = """
import gc, sys, docstore
sys.modules["docstore.store"] = None
try:
    docstore.DocStore
except ImportError:
    print(gc.isenabled())
"""
    assert run(program) == "True"
