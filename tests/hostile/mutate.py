"""Other bytes out of good ones, as fuzzers make them: flips, cuts, copies, splices, and numbers that parsers mind."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_NUMBER = re.compile(rb"-?\d+")
_INTERESTING = [b"0", b"-1", b"1", b"65536", b"2147483647", b"4294967296", b"9223372036854775808", b"1e308", b"9" * 40]
_BYTES = [b"\0", b"\xff", b"\x7f", b"\x80", b"<", b">", b"(", b"[", b"/", b"%", b"\r", b"\xf0\x90", b"\xed\xa0\x80"]


def mutated(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    """The bytes after one to eight random changes."""
    for _ in range(1 << generator.randrange(4)):
        data = generator.choice(_CHANGES)(data, others, generator)
    return data


def _place(data: bytes, generator: random.Random) -> int:
    return generator.randrange(len(data) + 1)


def _flip(data: bytes, _others: list[bytes], generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice([1, 2, 10])):
        if changed:
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _cut(data: bytes, _others: list[bytes], generator: random.Random) -> bytes:
    first, last = sorted((_place(data, generator), _place(data, generator)))
    return data[:first] + data[last:] if generator.random() < 0.7 else data[:last]


def _copy(data: bytes, _others: list[bytes], generator: random.Random) -> bytes:
    first = _place(data, generator)
    piece = data[first : first + generator.randrange(1, 200)]
    at = _place(data, generator)
    return data[:at] + piece * generator.choice([1, 2, 50]) + data[at:]


def _splice(data: bytes, others: list[bytes], generator: random.Random) -> bytes:
    other = generator.choice(others)
    first, at = _place(other, generator), _place(data, generator)
    return data[:at] + other[first : first + generator.randrange(1, 2000)] + data[at:]


def _insert(data: bytes, _others: list[bytes], generator: random.Random) -> bytes:
    at = _place(data, generator)
    return data[:at] + generator.choice(_BYTES) * generator.choice([1, 1, 4, 300]) + data[at:]


def _renumber(data: bytes, _others: list[bytes], generator: random.Random) -> bytes:
    found = [match.span() for match in _NUMBER.finditer(data[:200_000])]
    if not found:
        return data
    first, last = generator.choice(found)
    return data[:first] + generator.choice(_INTERESTING) + data[last:]


_CHANGES: list[Callable[[bytes, list[bytes], random.Random], bytes]] = [
    _flip, _flip, _cut, _copy, _splice, _insert, _renumber, _renumber,
]  # fmt: skip
