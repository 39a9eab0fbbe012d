"""Stored texts: compressed once, readable in pieces.

The file is in Zstandard's seekable format: frames of 32 KiB of UTF-8, each compressed and checksummed on its own,
and a table of them in a skippable frame at the end. Any `zstd -d` reads it whole; we read the frames that a span
lies in. Source of the format: contrib/seekable_format in facebook/zstd.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from docstore.errors import REPAIR, IntegrityError

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdCompressor, ZstdDecompressor, ZstdError
else:
    from backports.zstd import CompressionParameter, ZstdCompressor, ZstdDecompressor, ZstdError

SUFFIX = ".zst"

BLOCK = 32 * 1024
"""Bytes of UTF-8 in a frame. 16 KiB compress 5 % worse; 64 KiB take longer to read a span from."""
_ENTRY = struct.Struct("<II")  # of the seek table: bytes of a frame, and bytes that it gives
_FOOTER = struct.Struct("<IBI")  # after the entries: frames, flags, magic number
_LEAST = 10  # bytes of a frame that gives any: 4 of magic number, 2 of header, 3 and 1 of a block (RFC 8878)
_MAGIC, _SKIPPABLE, _HAS_CHECKSUMS = 0x8F92EAB1, 0x184D2A5E, 0x80
_SMALL = 64 * 1024  # bytes of a file; larger ones are read in parts
LONGEST_CHUNK = 4 << 20
"""Characters. What is longer is no chunk but a damaged span, which must not fill the memory."""
_LONGEST_SPAN = 4 * LONGEST_CHUNK  # bytes
_OPTIONS: dict[int, int] = {CompressionParameter.compression_level: 9, CompressionParameter.checksum_flag: 1}
_OUT_OF_MEMORY = "Allocation error"  # how zstd says so (lib/common/error_private.c)
_SHORT = 4096  # bytes of a text that level 9 makes no smaller than level 3 does, in five times as long
_FOR_SHORT: dict[int, int] = _OPTIONS | {CompressionParameter.compression_level: 3}


class Text(NamedTuple):
    """What extraction gave for a document."""

    content: str
    """Pages parted by form feeds."""
    hash: str
    """BLAKE3 of the content in UTF-8: different documents with the same text share it."""

    @classmethod
    def of(cls, content: str) -> Text:
        """The text with its hash."""
        return cls(content, blake3(content.encode()).hexdigest())


def compress(text: Text) -> bytes:
    """The bytes of the stored file.

    Not with `SeekableZstdFile`, which says nowhere how much a frame gets: zstd then prepares for megabytes.
    """
    data = text.content.encode()
    blocks = [data[first : first + BLOCK] for first in range(0, len(data), BLOCK)]
    compressor = ZstdCompressor(options=_FOR_SHORT if len(data) < _SHORT else _OPTIONS)
    try:
        frames = [compressor.compress(block, ZstdCompressor.FLUSH_FRAME) for block in blocks]
    except ZstdError as error:  # which bytes in memory give no other reason for
        raise MemoryError(str(error)) from error
    table = b"".join(_ENTRY.pack(len(frame), len(block)) for frame, block in zip(frames, blocks))
    head = struct.pack("<II", _SKIPPABLE, len(table) + _FOOTER.size)
    return b"".join([*frames, head, table, _FOOTER.pack(len(frames), 0, _MAGIC)])


def decompress(data: bytes, hash: str, characters: int) -> Text:
    """The whole text, checked against its hash.

    Args:
        characters: how many it has. No more is decompressed than these can take, whatever the file holds.
    """
    most = 4 * characters  # bytes of UTF-8
    file = io.BytesIO(data)
    with _damage(hash):
        frames = _frames(file)
        if (len(frames) - 1) * BLOCK > most:
            raise EOFError("it is longer than its row says")
        text = Text.of(b"".join(_read_block(file, frames, number) for number in range(len(frames))).decode())
    if text.hash != hash:
        raise IntegrityError(f"Stored text {hash} decompresses to other bytes. {REPAIR}")
    return text


def blocks_of(hash: str, first: int, last: int) -> range:
    """The numbers of the blocks, of `BLOCK` bytes of UTF-8 each, that bytes `first` to `last` of a text lie in.

    Raises:
        IntegrityError: no chunk has such offsets.
    """
    if not 0 <= last - first <= _LONGEST_SPAN or first < 0:
        with _damage(hash):
            raise EOFError(f"no chunk goes from byte {first} to {last}")
    return range(first // BLOCK, max(last - 1, first) // BLOCK + 1)


def read_blocks(file: BinaryIO, hash: str, numbers: Iterable[int]) -> dict[int, memoryview]:
    """Some blocks of a stored text, by their numbers. Decompresses these and nothing else.

    Not with `SeekableZstdFile`, which skips to a place within a frame by decompressing all that is before it at once:
    where a damaged table names a frame of gigabytes, into as much memory.
    """
    with _damage(hash):
        # One that was packed is in memory already.
        if not isinstance(file, io.BytesIO) and file.seek(0, io.SEEK_END) <= _SMALL:
            file.seek(0)
            file = io.BytesIO(file.read(_SMALL))  # one read is faster than one for each part
        frames = _frames(file)
        return {number: _read_block(file, frames, number) for number in numbers}


def _frames(file: BinaryIO) -> list[tuple[int, int, int]]:
    """Where each frame begins and ends in the file, and how many bytes it gives."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - _FOOTER.size, 0))
    count, flags, magic = _FOOTER.unpack(_exactly(file, _FOOTER.size))
    entry = 12 if flags & _HAS_CHECKSUMS else 8
    table = 8 + entry * count + _FOOTER.size
    if magic != _MAGIC or flags & ~_HAS_CHECKSUMS or not 0 < count <= size // entry or table > size:
        raise EOFError("it has no seek table")
    file.seek(size - table)
    # A table of more frames than there is room for is not even read.
    if struct.unpack("<II", _exactly(file, 8)) != (_SKIPPABLE, table - 8) or (count - 1) * _LEAST > size - table:
        raise EOFError("its seek table is not that of its frames")
    # Not with NumPy: most texts have a frame or two, and it would take longer to begin than this to end.
    numbers = struct.unpack(f"<{entry * count // 4}I", _exactly(file, entry * count))
    sizes, gives = numbers[:: entry // 4], numbers[1 :: entry // 4]
    ends = list(accumulate(sizes, initial=0))
    full = gives[:-1].count(BLOCK) == count - 1 and 0 < gives[-1] <= BLOCK and max(sizes) <= 2 * BLOCK
    if not full or ends[-1] != size - table:
        raise EOFError("its seek table is not that of its frames")
    return list(zip(ends, ends[1:], gives))


def _read_block(file: BinaryIO, frames: Sequence[tuple[int, int, int]], number: int) -> memoryview:
    if number >= len(frames):
        raise EOFError
    first, last, size = frames[number]
    file.seek(first)
    decompressor = ZstdDecompressor()
    block = decompressor.decompress(_exactly(file, last - first), BLOCK + 1)
    if len(block) != size or not decompressor.eof:
        raise EOFError("a frame does not give what the seek table says")
    return memoryview(block)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data


def cut(hash: str, blocks: Mapping[int, memoryview], first: int, last: int) -> str:
    """What lies between two byte offsets of a text, out of the blocks that `blocks_of` names, by their numbers."""
    number, start = divmod(first, BLOCK)
    size = last - first
    data = blocks[number] if start + size <= BLOCK else b"".join(map(blocks.__getitem__, blocks_of(hash, first, last)))
    piece = data[start : start + size]
    try:
        if len(piece) == size:
            return str(piece, "utf-8")
    except ValueError as error:
        raise _damaged(hash, error) from error
    raise _damaged(hash, EOFError())


@contextmanager
def _damage(hash: str) -> Iterator[None]:
    """Turns what a damaged file raises into an `IntegrityError` that names the text."""
    try:
        yield
    except (ZstdError, EOFError, ValueError) as error:
        if _OUT_OF_MEMORY in str(error):
            raise MemoryError(str(error)) from error
        raise _damaged(hash, error) from error


def _damaged(hash: str, error: Exception) -> IntegrityError:
    return IntegrityError(f"Stored text {hash} is damaged ({str(error) or 'it ends early'}). {REPAIR}")
