"""The documentation and the interface hold each other to account."""

from __future__ import annotations

import inspect
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

import docstore
from docstore import DocStore, Workspace

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
RUNNABLE = [ROOT / "README.md", ROOT / "docs" / "how-to.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))]


def test_every_public_name_exists_and_is_documented() -> None:
    for name in docstore.__all__:
        value = getattr(docstore, name)
        assert name == "__version__" or inspect.getdoc(value), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = docstore.nonsense


@pytest.mark.parametrize("owner", [DocStore, Workspace])
def test_every_public_method_has_a_docstring(owner: type) -> None:
    for name, member in inspect.getmembers(owner):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), f"{owner.__name__}.{name}"


def test_annotations_of_all_that_is_public_can_be_looked_up() -> None:
    # As what makes tools or forms out of functions does: LangChain, LlamaIndex, FastAPI.
    annotated: list[Any] = [getattr(docstore, name) for name in docstore.__all__]
    for owner in filter(inspect.isclass, list(annotated)):
        members = [member for name, member in inspect.getmembers(owner) if not name.startswith("_")]
        annotated += [member.fget if isinstance(member, property) else member for member in members]
    found: dict[Any, dict[str, Any]] = {
        each: typing.get_type_hints(each) for each in annotated if inspect.isfunction(each) or inspect.isclass(each)
    }
    assert found[DocStore.stats] == {"return": docstore.StorageStats}
    assert {DocStore, DocStore.verify, Workspace.search, Workspace.add_many}.issubset(found)


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    wanted = project["dependencies"] + [each for extra in project["optional-dependencies"].values() for each in extra]
    for requirement in wanted:
        name = re.split(r"[\[<>=~! ]", requirement)[0]
        assert re.search(rf"^\| `{re.escape(name)}` \|", architecture, re.MULTILINE), f"{name} has no line of reason"


def _sections(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links: words in small letters, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, section in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            other = page.parent / target if target else page
            assert other.exists(), f"{page.name} links to {target}"
            assert not section or section in _sections(other), f"{page.name} links to {target}#{section}"


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_python_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    from tests.samples import pdf

    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("report.pdf", "Revenue grew by a third. Attention was paid to costs."),
        ("handbook.pdf", "Employees may carry over five days of leave into the next year."),
    ):
        Path(name).write_bytes(pdf([text]))
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:  # the blocks of a page are one program
        exec(compile(block, str(page), "exec"), names)  # noqa: S102
    for each in names.values():
        if isinstance(each, DocStore):
            each.close()  # from 3.13 on, Python warns of a connection that goes unclosed


def test_source_files_fit_in_one_sitting() -> None:
    for path in sorted((ROOT / "src").rglob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400, f"{path.relative_to(ROOT)} has {len(lines)} lines"
        assert lines[0].startswith('"""'), f"{path.relative_to(ROOT)} does not say what it is for"


def test_no_parameter_of_sql_is_numbered() -> None:
    # Python 3.12.0 to 3.12.3 take `?1` for a name, and warn of it in each statement: an error, where warnings are.
    for path in (ROOT / "src").rglob("*.py"):
        assert not re.search(r"[(\s=<,]\?\d", path.read_text(encoding="utf-8")), path.relative_to(ROOT)
