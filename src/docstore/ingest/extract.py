"""Text out of bytes: PDF, HTML, Markdown and plain text. Runs in the worker process (see `worker`).

The content alone decides what a file is, never its name: the same bytes must give the same text whoever adds them, or
the first to do so would decide for the others, and be seen by them. Pages come out parted by form feeds.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from docstore.ingest import markup
from docstore.ingest.encodings import decode
from docstore.ingest.extraction import PAGE_BREAK, Extraction, Unreadable
from docstore.ingest.limits import Limits

_HEAD = 2048
# The tags that the WHATWG MIME sniffing standard takes for HTML, after white space and comments.
_HTML = re.compile(
    rb"(?:\s|\xef\xbb\xbf|<!--(?:(?!-->).)*-->|<\?xml[^>]*>)*<(?:(?P<page>!doctype\s+html|html|head|body|title)|script|iframe|h1|"
    rb"div|font|table|a|style|b|br|p)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
# What Markdown has and other text has seldom. Comments in programs look like headings, indexing like links, and YAML
# begins like front matter: one kind proves nothing, and rendering what is not Markdown would lose characters.
# Each with what there is none without: looking for that first takes a tenth of the time.
_MARKDOWN = tuple(
    (needed, re.compile(pattern, re.MULTILINE))
    for needed, pattern in (
        (("# ",), r"(?:\A|\n[ \t]*\n)#{1,6} +[^\s#]"),  # a heading, at the beginning or after a blank line
        (("```", "~~~"), r"^(?:```|~~~)[\w.+-]*[ \t]*$"),  # a code fence
        (("](",), r"(?<![\w)\]])!?\[[^\[\]\n]+\]\([^()\s]+\)"),  # a link or an image
        (("|",), r"^\|?[ ]*:?-+:?[ ]*\|[ :|-]*$"),  # the line below the header of a table
        (("---\n",), markup.FRONT_MATTER.pattern),
    )
)
_SAMPLE = 65_536  # characters that decide whether a text is Markdown
_SHORTEST_STREAM = 8  # bytes of a zlib stream of nothing
_LARGEST_STREAM = 100_000_000  # bytes that one gives: more than pypdf's own limit
_HALF_SPACE = 125.0  # thousandths of the font's size
_PORTION = 1 << 20  # bytes in memory while a stream is looked through
_CONVERT: dict[str, Callable[[str], str]] = {
    "text/html": markup.html_text,
    "text/markdown": markup.markdown_text,
    "text/plain": str,
}
_PDF = re.compile(rb"%PDF-\d\.\d")
_PDF_OBJECT = re.compile(rb"\d+\s+\d+\s+obj\b")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def extract(document: Path | bytes, limits: Limits, media_type: str | None = None) -> Extraction:
    """The text of a document.

    Args:
        document: its bytes, or the file that holds them.
        media_type: what a text was taken for when it was stored, to get what was got then.

    Raises:
        Unreadable: there is no text to be had, and why.
    """
    with io.BytesIO(document) if isinstance(document, bytes) else open(document, "rb") as file:
        head = file.read(_HEAD)
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        # Readers of ISO 32000 accept other bytes before it, within the first 1024: and other texts may speak of it.
        if head.startswith(b"%PDF-") or (_PDF.search(head[:1032]) and _PDF_OBJECT.search(head)):
            return _pdf(file, limits)
        _refuse_binary(head)
        if size > 4 * limits.characters:  # UTF-8 takes 4 bytes a character at most
            raise Unreadable("limit", f"it has {size:,} bytes; as text that is more than Limits.characters, "
                                      f"{limits.characters:,}, can hold. Split it, or open the store with larger "
                                      "limits.")  # fmt: skip
        return _textual(file.read(), head, limits, media_type)


def _textual(data: bytes, head: bytes, limits: Limits, media_type: str | None) -> Extraction:
    content = _decode(data)
    if media_type not in _CONVERT:
        media_type = _kind(head, content)
    text = _clean(_CONVERT[media_type](_clean(content))).replace(PAGE_BREAK, "\n")
    if not text.strip():
        raise Unreadable("empty", "it has no text: only white space or markup. There is nothing to search.")
    _check_characters(len(text), limits)
    return Extraction(text, media_type, None)


def _kind(head: bytes, content: str) -> str:
    html = _HTML.match(head) or _HTML.match(content[:_HEAD].encode())
    if html and html["page"]:
        return "text/html"
    # Before HTML: many a README begins with a heading in that. A whole page begins as one.
    if _is_markdown(content):
        return "text/markdown"
    return "text/html" if html else "text/plain"


def _is_markdown(content: str) -> bool:
    sample = _clean(content[:_SAMPLE])
    kinds = (kind for needed, kind in _MARKDOWN if any(each in sample for each in needed))
    return sum(1 for kind in kinds if kind.search(sample)) >= 2


def _decode(data: bytes) -> str:
    content = decode(data)
    if content is None:
        raise _unsupported("its bytes are text in no known encoding")
    if len(_CONTROLS.findall(content[:_HEAD])) > len(content[:_HEAD]) // 100:
        raise _unsupported("it is binary data")
    return content


def _refuse_binary(head: bytes) -> None:
    import puremagic

    if head.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16 and UTF-32 byte order marks
        return
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # may end within a character
        return
    except UnicodeDecodeError:
        pass
    if head.startswith(b"PK\x03\x04"):  # of which puremagic says that it is Office's, whatever is in it
        raise _unsupported("its content is a ZIP archive, as documents of office programs are too")
    try:
        kinds = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):  # puremagic 1, the newest for Python 3.11, has no empty answer
        return
    for kind in kinds[:1]:
        if kind.mime_type and not kind.mime_type.startswith("text/") and kind.confidence >= 0.4 and kind.byte_match:
            raise _unsupported(f"its content is {kind.name or kind.mime_type}")


def _unsupported(what: str) -> Unreadable:
    return Unreadable("unsupported", f"{what}. Supported are PDF, HTML, Markdown and plain text; convert it first.")


def _pdf(file: BinaryIO, limits: Limits) -> Extraction:
    import pypdf
    from pypdf.errors import LimitReachedError, PyPdfError

    _require_whole_streams()
    _see_narrow_spaces()
    try:
        # The open file, not the path: pypdf reads the whole of a path into memory.
        reader = pypdf.PdfReader(file)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("encrypted", "the PDF needs a password. Store a copy that was saved without one.")
        count = len(reader.pages)
        if count > limits.pages:
            raise Unreadable("limit", f"it has {count:,} pages and Limits.pages is {limits.pages:,}. "
                                      "Split it, or open the store with larger limits.")  # fmt: skip
        pages = _pdf_pages([page.extract_text for page in reader.pages], limits)
    except LimitReachedError as error:
        raise Unreadable("limit", f"it decompresses to more than pypdf allows ({error}). It may be hostile.") from error
    except (MemoryError, Unreadable):
        raise
    except (PyPdfError, RecursionError) as error:
        raise Unreadable("corrupt", f"the PDF is damaged ({_brief(error)}). Repair it or export it again.") from error
    except Exception as error:
        # Broken PDFs make pypdf raise nearly anything: KeyError, TypeError, struct.error, zlib.error, …
        raise Unreadable(
            "corrupt", f"the PDF cannot be read ({_brief(error)}). Repair it or export it again."
        ) from error
    if not any(pages):
        raise Unreadable("no-text", f"none of its {count:,} pages has text: it is probably scanned. "
                                    "Run OCR over it (for example ocrmypdf) and add the result.")  # fmt: skip
    return Extraction(PAGE_BREAK.join(pages), "application/pdf", count)


@cache
def _require_whole_streams() -> None:
    """From here on pypdf refuses streams that end early or are not what their checksum says. It has no switch for that,
    and reads what there is of them: a page without its text, or with another."""
    from pypdf import filters
    from pypdf.errors import PdfStreamError

    decompress = filters.decompress

    def strict(data: bytes) -> bytes:
        if not is_whole(data):
            raise PdfStreamError("a compressed stream is damaged")
        return bytes(decompress(data))

    filters.decompress = strict


@cache
def _see_narrow_spaces() -> None:
    """From here on pypdf takes for a space what is as wide as half of a narrow one. Of a font that has none, as many of
    TeX's, it takes the width of whatever glyph has a space's number, and joins words: of 88 PDFs of TeX's documentation
    it so lost 2.9 % of the words that poppler finds, and loses 1.6 %. Its own `space_width` does not help there."""
    try:
        from pypdf._text_extraction._text_extractor import TextExtraction

        set_font = TextExtraction._handle_tf
    except (ImportError, AttributeError):  # another version's: words may join then, and no PDF is refused for it
        return

    def set_narrow(self: TextExtraction, operands: list[Any]) -> None:
        set_font(self, operands)
        self._space_width = min(self._space_width, _HALF_SPACE)

    TextExtraction._handle_tf = set_narrow  # type: ignore[method-assign]


def is_whole(data: bytes) -> bool:
    """Whether a zlib stream goes on to its end, and is what its checksum says if it has one: some writers leave it
    out, or put line ends behind it."""
    if len(data) < _SHORTEST_STREAM:
        return True  # of nothing nothing can be lost
    inflate, rest, checksum, size = zlib.decompressobj(-zlib.MAX_WBITS), data[2:], 1, 0
    while not inflate.eof:
        try:
            piece = inflate.decompress(rest, _PORTION)
        except zlib.error:
            return False
        rest, checksum, size = inflate.unconsumed_tail, zlib.adler32(piece, checksum), size + len(piece)
        if size > _LARGEST_STREAM:
            return True  # pypdf has a limit, and refuses it
        if not piece and not rest and not inflate.eof:
            return False
    stored = inflate.unused_data[:4]
    return len(stored) < 4 or int.from_bytes(stored, "big") == checksum


def _pdf_pages(extractors: list[Callable[[], str]], limits: Limits) -> list[str]:
    pages, characters = [], 0
    for extract_text in extractors:
        # A page that fails fails the document: a text with silent holes is worse than a clear refusal.
        page = _clean(extract_text()).replace(PAGE_BREAK, "\n")
        pages.append(page if page.strip() else "")
        characters += len(pages[-1]) + 1
        _check_characters(characters, limits)
    return pages


def _check_characters(count: int, limits: Limits) -> None:
    if count > limits.characters:
        raise Unreadable("limit", f"its text is longer than Limits.characters, {limits.characters:,}. "
                                  "Split it, or open the store with larger limits.")  # fmt: skip


def _clean(text: str) -> str:
    """One kind of line end, no NUL, and nothing that UTF-8 cannot hold (PDF fonts map to lone surrogates)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
