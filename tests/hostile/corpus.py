"""Documents made to hurt whoever reads them, each by its name. All are made here: nothing is downloaded.

`pdfs()` and `texts()` give (name, bytes). None is larger than some megabytes; several want to become gigabytes.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from tests.samples import bomb, encrypted, pdf, recursive

_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_TREE = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
_PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
_SHOW = b"BT /F 12 Tf (Hello from a hostile file) Tj ET"
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def stream(data: bytes, dictionary: bytes = b"", length: int | bytes | None = None) -> bytes:
    """A stream object, whose length may be a lie."""
    said = length if isinstance(length, bytes) else b"%d" % (len(data) if length is None else length)
    return b"<< /Length " + said + b" " + dictionary + b" >>\nstream\n" + data + b"\nendstream"


def raw_pdf(objects: Mapping[int, bytes], trailer: bytes = b"", startxref: int | None = None) -> bytes:
    """A PDF of these objects over those of a good one, so that each sample says only what is wrong with it."""
    good = {1: _CATALOG, 2: _TREE, 3: _PAGE, 4: stream(_SHOW), 5: _FONT}
    body, offsets = b"%PDF-1.7\n", {}
    for number, content in {**good, **objects}.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = b"xref\n0 %d\n" % (max(offsets) + 1)
    for number in range(max(offsets) + 1):
        table += b"%010d 00000 n \n" % offsets[number] if number in offsets else b"0000000000 65535 f \n"
    start = len(body) if startxref is None else startxref
    size = max(offsets) + 1
    ending = b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, start)
    return body + table + ending


def _repeated(byte: bytes, megabytes: int, times: int = 1) -> bytes:
    """Many megabytes of one byte, deflated so often. Fast: one megabyte is compressed, and its block repeated."""
    compressor = zlib.compressobj(9, wbits=-15)
    block = compressor.compress(byte * (1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    value, size = byte[0], megabytes << 20
    adler = (size + value * (size * (size + 1) // 2)) % 65521 << 16 | (1 + size * value) % 65521
    data = b"\x78\xda" + block * megabytes + b"\x03\x00" + struct.pack(">I", adler)
    for _ in range(times - 1):
        data = zlib.compress(data, 9)
    return data


def pdfs() -> Iterator[tuple[str, bytes]]:
    """PDFs by what is wrong with them."""
    whole = pdf([f"Page {number} of a whole file" for number in range(3)])
    yield "whole", whole
    yield "whole by hand", raw_pdf({})
    for tenth in range(1, 10):
        yield f"truncated at {tenth}0 %", whole[: len(whole) * tenth // 10]
    yield "truncated by its last byte", whole[:-1]
    yield "nothing but a header", b"%PDF-1.7\n"
    yield "encrypted with a password", encrypted(["secret"], "pass")
    yield "encrypted without one", encrypted(["open"], "")
    yield "encryption that is none", raw_pdf({}, b"/Encrypt << /Filter /Standard /V 99 /R 99 >> /ID [(a) (b)]")
    yield "encryption that refers to itself", raw_pdf({6: b"6 0 R"}, b"/Encrypt 6 0 R")
    yield from _structure()
    yield from _bombs()
    yield from _fonts()
    yield from _polyglots(whole)


def _structure() -> Iterator[tuple[str, bytes]]:
    good = raw_pdf({})
    yield "page tree in a circle", recursive()
    yield "page tree without an end", raw_pdf({2: b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"})
    yield "count of pages is a lie", raw_pdf({2: b"<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>"})
    yield "count of pages is negative", raw_pdf({2: b"<< /Type /Pages /Kids [3 0 R] /Count -5 >>"})
    yield (
        "a million times one page",
        raw_pdf({2: b"<< /Type /Pages /Count 1000000 /Kids [" + b"3 0 R " * 1_000_000 + b"] >>"}),
    )
    trees = {10 + n: b"<< /Type /Pages /Count 9 /Kids [" + b"%d 0 R " % (11 + n) * 10 + b"] >>" for n in range(9)}
    yield "ten to the ninth pages", raw_pdf({2: b"<< /Type /Pages /Kids [10 0 R] /Count 9 >>", **trees, 19: _PAGE})
    deep = {10 + n: b"<< /Type /Pages /Count 1 /Kids [%d 0 R] >>" % (11 + n) for n in range(5000)}
    yield "page tree 5,000 deep", raw_pdf({2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>", **deep, 5010: _PAGE})
    yield "xref points nowhere", raw_pdf({}, startxref=999_999_999)
    yield "xref points before the file", good.replace(b"startxref\n", b"startxref\n-")
    yield "xref is a page", raw_pdf({}, startxref=20)
    yield "xref of a billion entries", good.replace(b"xref\n0 6", b"xref\n0 1000000000", 1)
    yield "xref with letters", good.replace(b" 00000 n", b" zzzzz n")
    yield "Prev in a circle", raw_pdf({}, b"/Prev %d" % good.index(b"xref\n0"))
    yield "Prev of itself, as a stream", raw_pdf({}, b"/XRefStm %d" % good.index(b"xref\n0"))
    yield "Length of 4 GB", raw_pdf({4: stream(_SHOW, length=1 << 32)})
    yield "Length is negative", raw_pdf({4: stream(_SHOW, length=-1)})
    yield "Length refers to itself", raw_pdf({4: stream(_SHOW, length=b"4 0 R")})
    yield "an object is its own value", raw_pdf({4: b"4 0 R"})
    yield "objects in a circle", raw_pdf({4: b"6 0 R", 6: b"7 0 R", 7: b"4 0 R"})
    yield "object number beyond all", raw_pdf({4: b"99999999999999999999 0 R"})
    for number, (opening, closing) in enumerate([(b"[", b"]"), (b"<< /A ", b" >>"), (b"(", b")")]):
        yield f"nested 100,000 deep ({number})", raw_pdf({6: opening * 100_000 + b"1" + closing * 100_000, 4: b"6 0 R"})
        content = stream(opening * 50_000 + closing * 50_000 + _SHOW)
        yield f"nested 50,000 deep in a page ({number})", raw_pdf({4: content})
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R /Y 7 0 R >> >>"
    page = _PAGE.replace(b"/Font", b"/XObject << /X 6 0 R /Y 7 0 R >> /Font")
    forms = {6: stream(b"/Y Do /Y Do " * 9, form), 7: stream(b"/X Do /X Do " * 9, form)}
    yield "forms in a circle", raw_pdf({3: page, 4: stream(_SHOW + b" /X Do"), **forms})
    doubling = {
        10 + n: stream(b"/X Do " * 10, form.replace(b"/X 6", b"/X %d" % (11 + n)).replace(b"/Y 7 0 R", b""))
        for n in range(12)
    }
    last = {22: stream(_SHOW, form)}
    yield (
        "forms, ten to the twelfth",
        raw_pdf({3: page.replace(b"/X 6", b"/X 10"), 4: stream(b"/X Do"), **doubling, **last}),
    )
    yield "states without an end", raw_pdf({4: stream(b"q " * 2_000_000 + _SHOW)})
    yield (
        "text matrices that overflow",
        raw_pdf({4: stream(b"BT 1e308 1e308 1e308 1e308 1e308 1e308 Tm " * 50 + _SHOW)}),
    )
    yield "numbers of 100,000 digits", raw_pdf({4: stream(b"BT " + b"9" * 100_000 + b" 0 Td (x) Tj ET " + _SHOW)})
    yield "JavaScript and files inside", raw_pdf({
        1: b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >> "
           b"/Names << /EmbeddedFiles << /Names [(evil.exe) 6 0 R] >> >> /AA << /O << /S /Launch /F (calc) >> >> >>",
        6: b"<< /Type /Filespec /F (../../evil.exe) /EF << /F 7 0 R >> >>",
        7: stream(b"MZ this is an embedded program"),
    })  # fmt: skip
    yield "a file of somewhere else", raw_pdf({4: stream(b"", b"/F (/etc/passwd) /FFilter /FlateDecode")})
    yield "no pages at all", raw_pdf({2: b"<< /Type /Pages /Kids [] /Count 0 >>"})
    yield "kids that are numbers", raw_pdf({2: b"<< /Type /Pages /Kids [1 2 (x) null /N] /Count 5 >>"})
    yield "root that is none", raw_pdf({1: b"null"})


def _bombs() -> Iterator[tuple[str, bytes]]:
    flate = b"/Filter /FlateDecode"
    yield "bomb of 300 MB", bomb(300)
    yield "bomb of 3 GB", raw_pdf({4: stream(_repeated(b" ", 3000), flate)})
    nested = b"/Filter [/FlateDecode /FlateDecode /FlateDecode]"
    yield "bomb in bombs", raw_pdf({4: stream(_repeated(b"\0", 4000, times=3), nested)})
    yield "a thousand filters", raw_pdf({4: stream(_SHOW, b"/Filter [" + b"/ASCIIHexDecode " * 1000 + b"]")})
    yield "run lengths", raw_pdf({4: stream(b"\x81 " * 2_000_000 + b"\x80", b"/Filter /RunLengthDecode")})
    lengths = zlib.compress(b"\x81 " * 20_000_000 + b"\x80", 9)
    yield "run lengths, deflated", raw_pdf({4: stream(lengths, b"/Filter [/FlateDecode /RunLengthDecode]")})
    yield "LZW of noise", raw_pdf({4: stream(bytes(range(256)) * 2000, b"/Filter /LZWDecode")})
    yield "LZW of one code", raw_pdf({4: stream(zlib.compress(b"\x80\x0b\x60\x50\x22\x0c\x0c\x85\x01" * 500_000, 9),
                                                 b"/Filter [/FlateDecode /LZWDecode]")})  # fmt: skip
    yield "ASCII85 of zeros", raw_pdf({4: stream(b"z" * 3_000_000 + b"~>", b"/Filter /ASCII85Decode")})
    for columns in (2**31 - 1, 10**18, -1):
        parameters = b"/DecodeParms << /Predictor 15 /Columns %d /Colors 999 /BitsPerComponent 16 >>" % columns
        yield f"predictor of {columns} columns", raw_pdf({4: stream(zlib.compress(_SHOW), flate + parameters)})
    inner = b"".join(b"%d %d " % (number + 100, number) for number in range(200_000))
    many = stream(zlib.compress(inner + b"null " * 200_000), b"/Type /ObjStm /N 200000 /First %d " % len(inner) + flate)
    yield "200,000 objects in one stream", raw_pdf({6: many, 4: b"100 0 R"})
    space = stream(_repeated(b" ", 2000), b"/Type /ObjStm /N 1 /First 0 " + flate)
    table = struct.pack(">BIH", 0, 0, 65535) + struct.pack(">BIH", 2, 6, 0) * 5
    for name, width in (
        ("", b"[1 4 2]"),
        (" with huge fields", b"[999999999 4 2]"),
        (" with negative ones", b"[-1 4 2]"),
    ):
        xref = stream(table, b"/Type /XRef /W " + width + b" /Size 6 /Root 1 0 R")
        body = b"%PDF-1.7\n6 0 obj\n" + space + b"\nendobj\n"
        yield (
            f"object stream of 2 GB{name}",
            body + b"7 0 obj\n" + xref + b"\nendobj\nstartxref\n%d\n%%%%EOF" % len(body),
        )
    yield (
        "image of a terapixel",
        raw_pdf(
            {
                3: _PAGE.replace(b"/Font", b"/XObject << /I 6 0 R >> /Font"),
                4: stream(_SHOW + b" /I Do"),
                6: stream(b"x", b"/Subtype /Image /Width 1000000 /Height 1000000 /BitsPerComponent 8"),
            }
        ),
    )
    yield "a page of 5 million operators", raw_pdf({4: stream(zlib.compress(b"0 0 m " * 5_000_000, 1), flate)})
    yield "many times the same contents", raw_pdf({3: _PAGE.replace(b"4 0 R", b"[" + b"4 0 R " * 300_000 + b"]")})


def _fonts() -> Iterator[tuple[str, bytes]]:
    def with_map(cmap: bytes) -> bytes:
        font = _FONT.replace(b"/Type1", b"/Type0 /Encoding /Identity-H /ToUnicode 6 0 R")
        return raw_pdf({5: font, 6: stream(cmap), 4: stream(b"BT /F 12 Tf <00410042> Tj ET")})

    begin = b"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <FFFF> endcodespacerange "
    yield (
        "font map of all codes",
        with_map(begin + b"100 beginbfrange " + b"<0000> <FFFF> <0041> " * 100 + b"endbfrange"),
    )
    yield (
        "font map of 2**64 codes",
        with_map(begin + b"1 beginbfrange <0000000000000000> <FFFFFFFFFFFFFFFF> <0041> endbfrange"),
    )
    yield "font map of 2**32 codes", with_map(begin + b"1 beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange")
    yield "font map backwards", with_map(begin + b"1 beginbfrange <FFFF> <0000> <0041> endbfrange")
    yield "font map to halves of pairs", with_map(begin + b"1 beginbfrange <0000> <FFFF> <D800> endbfrange")
    yield "font map that ends early", with_map(begin + b"1 beginbfrange <00")
    yield "font map of words", with_map(begin + b"1 beginbfchar zzzz yyyy endbfchar")
    yield "font map to a megabyte", with_map(begin + b"1 beginbfchar <0041> <" + b"0041" * 250_000 + b"> endbfchar")
    yield "font map uses itself", with_map(b"/Self usecmap " + begin)
    yield (
        "font that is itself",
        raw_pdf({5: b"<< /Type /Font /Subtype /Type0 /DescendantFonts [5 0 R] /BaseFont /X >>"}),
    )
    widths = b"<< /Type /Font /Subtype /TrueType /FirstChar 0 /LastChar 2147483647 /Widths [1] /BaseFont /X >>"
    yield "font of two billion widths", raw_pdf({5: widths})
    wide = b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [<< /Type /Font " \
           b"/Subtype /CIDFontType2 /W [0 2147483647 500 5 1 9] /DW -1 >>] >>"  # fmt: skip
    yield "CID font of two billion widths", raw_pdf({5: wide})
    differences = b"/Encoding << /Differences [0 " + b"/a" * 500_000 + b" 999999999 /b] >>"
    yield "encoding of half a million names", raw_pdf({5: _FONT.replace(b"/BaseFont", differences + b" /BaseFont")})


def _polyglots(whole: bytes) -> Iterator[tuple[str, bytes]]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../evil.txt", "x")
    yield "zip before a PDF", buffer.getvalue() + whole
    yield "PDF before a zip", whole + buffer.getvalue()
    yield "gzip of a PDF", gzip.compress(whole)
    yield "PNG that says it is a PDF", b"\x89PNG\r\n\x1a\n%PDF-1.7\n" + bytes(range(256)) * 8
    yield "HTML before a PDF", b"<html><body>Not this text</body></html>" + whole
    yield "PDF header at byte 1019", b" " * 1019 + whole
    yield "PDF header a byte too late", b" " * 1020 + whole


def texts() -> Iterator[tuple[str, bytes]]:
    """HTML, Markdown and plain text."""
    yield "nested.html", b"<html>" + b"<div>" * 100_000 + b"x"
    yield "nested inline.html", b"<html>" + b"<b><i>" * 100_000 + b"x"
    yield "nested tables.html", b"<html>" + b"<table><tr><td>" * 2000 + b"x"
    yield "unclosed.html", b"<html>" + b"<p><a<" * 200_000
    yield "attribute.html", b"<html><p title='" + b"x" * 20_000_000 + b"'>word"
    yield "attributes.html", b"<html><p " + b"".join(b"a%d=1 " % number for number in range(300_000)) + b">word"
    yield "columns.html", b"<html><table><tr><td colspan=2147483647 rowspan=2147483647>x</td><td>y</td></tr></table>"
    yield "style.html", b"<html><p style='margin-top:1e300em; padding-left:999999999999em; white-space:pre'>word"
    yield "list start.html", b"<html><ol start=99999999999999999999>" + b"<li>x" * 1000 + b"</ol>"
    yield "entities.html", b"<html>" + b"&#x110000;&#xD800;&#99999999999999999999;&nosuch;&#0;" * 20_000 + b"word"
    yield "script.html", b"<html><script>evil()</script><iframe src='file:///etc/passwd'></iframe><p>word"
    yield "meta.html", b"<html><meta charset='utf-7'><p>+ADw-script+AD4-word"
    laughs = "".join(f"<!ENTITY l{n + 1} '{f'&l{n};' * 10}'>" for n in range(12))
    header = f"<?xml version='1.0'?><!DOCTYPE html [<!ENTITY l0 'lol'>{laughs}]>"
    yield "billion laughs.html", f"{header}<html><p>&l12; word</p></html>".encode()
    outside = "<!DOCTYPE html [<!ENTITY x SYSTEM 'file:///etc/passwd'><!ENTITY % y SYSTEM 'http://127.0.0.1:9/'> %y;]>"
    yield "external entity.html", f"{outside}<html><p>&x; word</p></html>".encode()
    yield "comment.html", b"<html><!--" + b"-" * 3_000_000 + b"word"
    yield "comments.html", b"<!--" * 500_000 + b"<html>word"
    yield "xml declarations.html", b"<?xml " * 300_000 + b"?><html><p>word"
    yield "null.html", b"<html><p>wo\0rd\0" * 1000
    markdown = b"# Markdown\n\n[link](http://x)\n\n"
    for name, unit in [("quotes", b"> "), ("brackets", b"["), ("links", b"[a]("), ("images", b"!["), ("stars", b"*a "),
                       ("emphasis", b"*a_ "), ("ticks", b"`a"), ("lists", b"- "), ("angles", b"<a "), ("pipes", b"|a"),
                       ("html", b"<div>"), ("escapes", b"\\")]:  # fmt: skip
        yield f"{name}.md", markdown + unit * 30_000 + b" word"
    yield "deep list.md", markdown + b"".join(b" " * (2 * depth) + b"- x\n" for depth in range(1000))
    yield "table.md", markdown + b"|" * 5000 + b"\n" + b"|-" * 5000 + b"|\n" + (b"|x" * 5000 + b"\n") * 20
    yield "references.md", markdown + b"".join(b"[a%d]: http://x\n" % number for number in range(30_000)) + b"[a1] word"
    yield "front matter.md", b"---\n" + b"a: &a [*a,*a]\n" * 50_000 + b"no end" + markdown
    yield "numbers.md", markdown + b"99999999999999999999999. x\n"
    yield "utf-16 halves.txt", "word ".encode("utf-16") + b"\x00\xd8" * 1000
    yield "utf-16 odd.txt", "some words ".encode("utf-16")[:-1]
    yield "utf-32.txt", "some words ".encode("utf-32")
    yield "utf-7.txt", b"+AGEAYg- +2AA- word"
    yield "overlong.txt", b"word \xc0\xaf\xe0\x80\xaf\xf8\x88\x80\x80\xaf " * 500
    yield "mixed.txt", "Straße".encode("cp1252") + "日本".encode("shift-jis") + "мир".encode("koi8-r") * 50
    yield "ebcdic.txt", "some words in EBCDIC ".encode("cp500") * 50
    yield "one line.txt", b"x" * 10_000_000
    yield "one word each.txt", b"x\n" * 2_000_000
    yield "combining.txt", ("e" + "\u0301" * 500_000).encode()
    yield "bidi.txt", "\u202e\u2066word\u2069 \ufeff\u200b\u200d ".encode() * 1000
    yield "joiners.txt", ("\U0001f468\u200d" * 200_000).encode()
    yield "page breaks.txt", b"\f" * 1_000_000 + b"word"
    yield "escapes.txt", b"\x1b]0;title\x07\x1b[2Jword " * 100
    yield "spaces.txt", b" " * 20_000_000 + b"word"
    yield "gzip bomb.gz", gzip.compress(b"\0" * 50_000_000)
