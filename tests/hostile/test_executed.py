"""Nothing that is read is ever executed: not while the library works, and nowhere in its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import docstore
from tests.hostile.contained import ROOT

SOURCES = sorted(Path(docstore.__file__).parent.rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "yaml", "code"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
METHODS = {"torch.load", "yaml.load", "pandas.read_pickle", "os.system", "os.popen", "ctypes.CDLL", "np.loads",
           "connection.enable_load_extension", "faiss.read_index"}  # fmt: skip

# The whole life of a store, under a hook that ends the process at what must not happen.
SCRIPT = """
import os, sys

def importing():
    frame = sys._getframe(2)
    while frame is not None:
        # namedtuple and dataclass make their methods with exec, from field names that are in the source
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name in ("namedtuple", "_create_fn"):
            return True
        frame = frame.f_back
    return False

active = False
def hook(event, arguments):
    if not active:
        return
    if event == "pickle.find_class" or event in ("marshal.loads", "exec", "os.system") and not importing():
        sys.stderr.write(f"{event} {arguments!r}"[:500])
        os._exit(66)
sys.addaudithook(hook)

import numpy
from docstore import DocStore, DocStoreError, Limits
from docstore.ingest.extract import extract
from docstore.ingest.extraction import Unreadable
from docstore.testing import HashEmbedder
from tests.samples import pdf
DOCUMENTS = [pdf(["A page"]), b"<html><p>a page</html>", b"# A *page*", b"plain"]
EVIL = (b"\\x80\\x04\\x95\\x1d" + bytes(7) + b"\\x8c\\x05posix\\x94\\x8c\\x06system\\x94\\x93"
        b"\\x94\\x8c\\x02id\\x94\\x85\\x94R\\x94.")
active = True
for data in [*DOCUMENTS, EVIL]:  # else done in a process of its own, which no hook watches
    try:
        extract(data, Limits())
    except Unreadable:
        pass
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    alice = store.workspace("alice")
    for number, data in enumerate(DOCUMENTS):
        alice.add(data, name=f"{number}.md", metadata={"n": number, "__reduce__": "os.system"})
    for call in (lambda: alice.search("page", where={"n": 1}), lambda: alice.search_many(["a", "b"]), alice.documents,
                 lambda: alice.search_vector(numpy.ones(64)), lambda: alice.add(EVIL), store.verify, store.stats):
        try:
            call()
        except DocStoreError:
            pass
for path in list(__import__("pathlib").Path(sys.argv[1]).rglob("*.npy")):
    path.write_bytes(EVIL)
with DocStore(sys.argv[1], embedder=HashEmbedder()) as store:
    try:
        store.workspace("alice").search("page")
    except DocStoreError as error:
        print(type(error).__name__)
    store.delete_workspace("alice")
    store.collect()
if len(sys.argv) > 2:
    __import__("pickle").loads(EVIL)
"""


def test_a_whole_life_executes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "IntegrityError\n")


def test_the_hook_would_notice(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "store"), "unpickle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 66 and "pickle.find_class" in done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(Path(docstore.__file__).parent)))
def test_the_source_holds_no_way_to(path: Path) -> None:
    assert violations(path.read_text()) == []


def violations(source: str) -> list[str]:
    """Lines that unpickle, evaluate or load code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.partition(".")[0] in MODULES for name in names):
            found.append(f"line {node.lineno} imports {names}")  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            found += _call(node)
    return found


def _call(node: ast.Call) -> list[str]:
    found = []
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        found.append(f"line {node.lineno} calls {node.func.id}")
    name = ast.unparse(node.func)
    # FAISS's reader may see what lies in memory below a header of our own, and no file.
    in_memory = [ast.unparse(each.func) for each in node.args if isinstance(each, ast.Call)]
    if name in METHODS and in_memory != ["faiss.ZeroCopyIOReader"]:
        found.append(f"line {node.lineno} calls {name}")
    for keyword in node.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        allowed = {"allow_pickle": False, "weights_only": True, "shell": False, "trust_remote_code": False}
        if keyword.arg in allowed and value is not allowed[keyword.arg]:
            found.append(f"line {node.lineno} sets {keyword.arg}")
    if name in ("np.load", "numpy.load") and not any(keyword.arg == "allow_pickle" for keyword in node.keywords):
        found.append(f"line {node.lineno} loads an array without allow_pickle=False")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from marshal import loads", "eval('1')", "exec(data)", "np.load(f)",
     "np.load(f, allow_pickle=True)",
     "torch.load(f)", "yaml.load(f)", "subprocess.run(x, shell=True)", "faiss.read_index(p)",
     "faiss.read_index(faiss.FileIOReader(p))",
     "import cloudpickle as c"],
)  # fmt: skip
def test_the_check_would_notice(source: str) -> None:
    assert len(violations(source)) >= 1
