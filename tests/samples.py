"""Documents of tests: a note, PDFs that are fine, and PDFs that are not."""

from __future__ import annotations

import io
import shutil
import tempfile
import zlib
from collections.abc import Sequence

import pytest
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    EncodedStreamObject,
    NameObject,
    NumberObject,
)

SNOW = b"The mountains of the north lie under snow."

of_a_gigabyte = pytest.mark.skipif(
    shutil.disk_usage(tempfile.gettempdir()).free < 1 << 30, reason="needs a GB for temporary files"
)
"""Tests of documents that take so much room."""


def pdf(pages: Sequence[str], title: str = "") -> bytes:
    """A PDF with one page for each text; an empty text gives a page without any, as a scan has."""
    document = FPDF()
    document.set_title(title)
    document.set_font("Helvetica", size=11)
    for text in pages:
        document.add_page()
        if text:
            document.multi_cell(0, text=text)
    return bytes(document.output())


def encrypted(pages: Sequence[str], user_password: str) -> bytes:
    """An AES-256 encrypted PDF. With an empty user password anyone may read it, as most viewers do silently."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(pages))))
    writer.encrypt(user_password=user_password, owner_password="owner", algorithm="AES-256")
    return written(writer)


def with_title(data: bytes, title: str) -> bytes:
    """The same PDF under another title: other bytes, the same text."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(data)))
    writer.add_metadata({"/Title": title})
    return written(writer)


def bomb(megabytes: int) -> bytes:
    """A small PDF whose page content decompresses to many megabytes."""
    writer = PdfWriter()
    page = writer.add_blank_page(200, 200)
    stream = EncodedStreamObject()
    stream[NameObject("/Filter")] = NameObject("/FlateDecode")
    stream._data = _deflated(b"BT /F1 12 Tf (x) Tj ET ", b" " * (1 << 20), megabytes)
    page[NameObject("/Contents")] = writer._add_object(stream)
    return written(writer)


def _deflated(beginning: bytes, block: bytes, times: int) -> bytes:
    """What `zlib.compress` would make of the beginning and so many blocks. All of it takes seconds; one block does not,
    and is the same each time, as nothing in it refers to what stands before."""
    compressor = zlib.compressobj(wbits=-15)
    first = compressor.compress(beginning) + compressor.flush(zlib.Z_FULL_FLUSH)
    repeated = compressor.compress(block) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.adler32(beginning)
    for _ in range(times):
        checksum = zlib.adler32(block, checksum)
    return b"\x78\x9c" + first + repeated * times + compressor.flush() + checksum.to_bytes(4)


def justified(first: str, second: str) -> bytes:
    """A PDF with two words that only their distance parts, in a font whose glyph number 32 is wide and no space."""
    writer = PdfWriter()
    page = writer.add_blank_page(300, 200)
    font = DictionaryObject({
        NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"),
        NameObject("/BaseFont"): NameObject("/Own"), NameObject("/FirstChar"): NumberObject(32),
        NameObject("/LastChar"): NumberObject(126), NameObject("/Widths"): ArrayObject([NumberObject(700)] * 95),
    })  # fmt: skip
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    stream = DecodedStreamObject()
    stream.set_data(f"BT /F1 12 Tf 20 100 Td [({first}) -220 ({second})] TJ ET".encode())
    page[NameObject("/Contents")] = writer._add_object(stream)
    return written(writer)


def recursive() -> bytes:
    """A PDF whose page tree contains itself."""
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    tree = writer._pages.get_object()
    assert isinstance(tree, DictionaryObject)
    tree[NameObject("/Kids")].append(writer._pages)  # type: ignore[attr-defined]
    return written(writer)


def written(writer: PdfWriter) -> bytes:
    """The bytes of what a writer holds."""
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()
