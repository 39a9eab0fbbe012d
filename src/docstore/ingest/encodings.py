"""Bytes of text into characters: UTF-8, what a byte order mark says, or what the bytes look like.

Which encoding a text without a mark is in can only be guessed. `chardet` knows some seventy; here is what makes its
guesses better for texts that applications have: short ones, and those of Latin letters with few accents.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

_NOT_ASCII = re.compile(rb"[\x80-\xff]+")
_ACCENTS = 1.6  # bytes in a row, on average, that are no ASCII: of texts in Latin letters fewer, of others more
_LATIN = [
    "cp1250", "cp1252", "cp1254", "cp1257", "iso8859-2", "iso8859-9", "iso8859-13", "iso8859-15", "iso8859-16", "cp437",
    "cp850", "cp852", "mac-roman",
]  # fmt: skip
_MARKS = (  # the longer first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
# What is in fact written where one of these is named has more characters in the places that they leave out.
_WIDER = {"iso8859-1": "cp1252", "gb2312": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932"}
_ESCAPES = re.compile(rb"\x1b\$[@B]|\x1b\$\(D")  # of ISO-2022-JP, which is ASCII to whoever does not know it
_HEAD = 2048  # bytes: with a zero among them they may be UTF-8, but are UTF-16 or 32 if they are text
_SAMPLE = 4096  # characters that decide whether something is text
_FEW_LETTERS = 200  # that may be one word
_SPACED = 0.02  # of characters that are white space, at least, in scripts that have it between words
_DENSE = "\u0e00"  # from here on are scripts without it: Thai, Chinese, Japanese and others
_RIGHT = 2  # characters of UTF-8, at least, for each byte that is none


def decode(data: bytes) -> str | None:
    """The text, or None where the bytes are none in any encoding that is known."""
    try:
        utf8 = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        utf8, guesses = None, [_marked, _nearly_utf8, _as_it_seems]
    else:
        if not _ESCAPES.search(data) and b"\0" not in data[:_HEAD]:
            return utf8
        guesses = [_as_it_seems]
    for guess in guesses:
        if (text := guess(data)) is not None and _is_text(text):
            return text
    return utf8


def _marked(data: bytes) -> str | None:
    """UTF-16 or 32, if it begins with a byte order mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    return None


def _nearly_utf8(data: bytes) -> str | None:
    """UTF-8 with a few bytes that are none, as where texts were put together: not the whole of it is in another one."""
    text = data.decode("utf-8-sig", "replace")
    strange = text.count("\N{REPLACEMENT CHARACTER}")
    right = len(text) - len(text.encode("ascii", "ignore")) - strange
    return text if right >= _RIGHT * strange else None


def _as_it_seems(data: bytes) -> str | None:
    import chardet

    runs = _NOT_ASCII.findall(data)
    is_latin = b"\0" not in data and sum(map(len, runs)) < _ACCENTS * len(runs)
    # All of it, since what is decoded is all of it. Not UTF-7, in which text means other text to whoever shows it.
    name = chardet.detect(
        data,
        max_bytes=len(data),
        compat_names=False,
        include_encodings=_LATIN if is_latin else None,
        exclude_encodings=["utf-7"],
    )["encoding"]
    for encoding in (_WIDER.get(name or ""), name):
        if encoding is not None:
            try:
                return data.decode(encoding)
            except (LookupError, UnicodeDecodeError):
                continue
    return None


def _is_text(text: str) -> bool:
    """Whether what was made of bytes without a mark can be text: sound and images become letters too."""
    sample = text[:_SAMPLE]
    kinds = [unicodedata.category(character) for character in sample]
    odd = sum(kind in ("Cn", "Co") or (kind == "Cc" and each >= "\x7f") for kind, each in zip(kinds, sample))
    if odd + sample.count("\N{REPLACEMENT CHARACTER}") > len(sample) // 100:
        return False
    if len(sample) < _FEW_LETTERS or 2 * sum(character >= _DENSE for character in sample) > len(sample):
        return True
    return sum(map(str.isspace, sample)) > _SPACED * len(sample)
