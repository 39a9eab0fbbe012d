"""Makes PDFs from the project's own texts, so that the demo has real documents on any machine."""

from __future__ import annotations

from pathlib import Path

from fpdf import FPDF

ROOT = Path(__file__).parent.parent


def make_pdfs(target: Path) -> list[Path]:
    """Writes a PDF for each page of the project but the how-tos, and for its licence. Returns their paths."""
    target.mkdir(parents=True, exist_ok=True)
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "architecture").glob("*.md")]
    sources = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "LICENSE", *sorted(pages)]
    return [_make_pdf(source, target / f"{source.stem.lower()}.pdf") for source in sources]


def _make_pdf(source: Path, target: Path) -> Path:
    document = FPDF()
    document.set_title(source.stem)
    document.set_auto_page_break(auto=True, margin=15)
    document.add_page()
    for line in source.read_text(encoding="utf-8").splitlines():
        heading = line.startswith("#")
        document.set_font("Helvetica", style="B" if heading else "", size=14 if heading else 10)
        # The built-in fonts know Latin-1 only.
        text = line.lstrip("# ").encode("latin-1", "replace").decode("latin-1")
        document.multi_cell(0, text=text or " ", new_x="LMARGIN", new_y="NEXT")
    document.output(str(target))
    return target
