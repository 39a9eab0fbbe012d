"""Encodings: text without a mark is read in the one it is in, and what is no text is refused."""

from __future__ import annotations

import math
import random

import pytest

from docstore import Limits
from docstore.ingest.encodings import decode
from docstore.ingest.extract import extract
from docstore.ingest.extraction import Unreadable

_TEXTS = {
    "Spanish": ("El señor Núñez pidió más información sobre el año pasado, según el niño. ", "cp1252"),
    "Portuguese": ("A reunião começou às oito da manhã e não terminou até à noite. ", "cp1252"),
    "Swedish": ("Räksmörgås på Åland är gott. Vi åker båt över sjön när solen går upp. ", "cp1252"),
    "Italian": ("L'assemblea si terrà lunedì. Perché è importante: la città ha più necessità. ", "cp1252"),
    "a German address": ("Müller, Straße 5, Köln. ", "iso8859-1"),
    "English with a price": ("Price: 30 € for naïve “quotes”. ", "cp1252"),
    "English with a degree": (
        "Before opening the housing, wait. " * 40 + "Keep the oil below 80 °C ± 2 °C. ",
        "cp1252",
    ),
    "Hungarian": ("Minden emberi lény szabadon születik és egyenlő méltósága és joga van. ", "cp1250"),
    "Polish": ("Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. ", "iso8859-2"),
    "Turkish": ("Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. ", "cp1254"),
    "Russian": ("Все люди рождаются свободными и равными в своём достоинстве и правах. ", "iso8859-5"),
    "Russian of DOS": ("Съешь же ещё этих мягких французских булок да выпей чаю. ", "cp866"),
    "Greek": ("Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια. ", "iso8859-7"),
    "Hebrew": ("כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. ", "cp1255"),
    "Arabic": ("يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. ", "iso8859-6"),
    "Chinese": ("人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心。", "gb18030"),
    "Japanese mail": ("すべての人間は、生れながらにして自由である。", "iso2022_jp"),
    "English in UTF-16": ("Hello, world. This is a note of some length. ", "utf-16-le"),
    "Greek with a mark": ("Όλοι οι άνθρωποι. ", "utf-16"),
    "Greek in UTF-32 with a mark": ("Όλοι οι άνθρωποι. ", "utf-32"),
    "Korean": ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. ", "euc-kr"),
}


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize(("text", "encoding"), _TEXTS.values(), ids=_TEXTS)
def test_text_is_read_in_its_encoding(text: str, encoding: str, times: int) -> None:
    assert decode((text * times).encode(encoding)) == text * times


def test_one_stray_byte_does_not_change_all_others() -> None:
    text = "Ein Text mit Umlauten: äöü ß. " * 300
    assert decode(text.encode() + b"\xe9 end") == text + "\N{REPLACEMENT CHARACTER} end"


def _sound(step: int) -> bytes:
    return bytes(128 + round(90 * math.sin(each / step) + each % 7) for each in range(20_000))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_sound(9), id="sound"),
        pytest.param(bytes(120 + (each % 256) // 3 + each % 5 for each in range(20_000)), id="an image"),
        pytest.param(random.Random(5).randbytes(20_000), id="noise"),
        pytest.param(bytes(128 + each % 128 for each in range(5000)), id="no ASCII"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        extract(data, Limits())
    assert refused.value.reason == "unsupported"
