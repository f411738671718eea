"""Compressed files unpacked as far as they go: gzip, zstd, xz, several of one kind in a row too.

What comes out is the same however it is asked for, so every way of reading a torn file finds the
same frames in it.
"""

from __future__ import annotations

import importlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

MEMORY = 1 << 29
"""Bytes that an xz file may ask for to be unpacked (xz -9 asks for 65 MB)."""


class Kind(NamedTuple):
    """A way to compress: what starts to unpack, and how many bytes it is given at a time.

    These bound what a file made to grow holds in memory at once (some 16 MB), and, where an
    unpacker cannot be copied, what is lost before a place that makes no sense.
    """

    start: Callable[[], Any]
    unit: int


def _zstd() -> Any:
    # Imported here: an endpoint inside a bare guest has the standard library only.
    zstandard = importlib.import_module("zstandard")
    return zstandard.ZstdDecompressor().decompressobj()


KINDS: dict[bytes, Kind] = {
    b"\x1f\x8b": Kind(lambda: zlib.decompressobj(31), 1 << 14),
    b"\x28\xb5\x2f\xfd": Kind(_zstd, 1 << 9),
    b"\xfd7zXZ\x00": Kind(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MEMORY), 1 << 9),
}


def kind_of(head: bytes) -> Kind | None:
    """How a file that begins with `head` is compressed; None where it is not."""
    return next((kind for magic, kind in KINDS.items() if head.startswith(magic)), None)


class Unpacked(io.RawIOBase):
    """What the compressed file `packed` holds; it ends where no more can be unpacked.

    `failure` says why, where that is not the file's proper end. Raises OSError as `packed` does.
    """

    def __init__(self, packed: io.BufferedReader, kind: Kind) -> None:
        self.failure = ""
        self._packed = packed
        self._pieces = self._unpack(kind)
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        while not self._ready:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._ready = memoryview(piece)
        size = min(len(room), len(self._ready))
        room[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self, kind: Kind) -> Iterator[bytes]:
        engine, piece = kind.start(), b""
        while piece := piece or self._packed.read(kind.unit):
            before = engine.copy() if hasattr(engine, "copy") else None
            try:
                unpacked = engine.decompress(piece)
            except Exception as error:  # each library has a class of its own
                yield from _up_to_failure(before, piece)
                self.failure = str(error)
                return
            yield unpacked
            piece = b""
            if engine.eof:
                # Another may follow at once, or after zeros that fill the file up.
                piece, engine = engine.unused_data.lstrip(b"\0"), None
                while not piece and (piece := self._packed.read(kind.unit)):
                    piece = piece.lstrip(b"\0")
                if not piece:
                    return
                engine = kind.start()
        self.failure = "the compressed file was cut off"

    def close(self) -> None:
        self._packed.close()
        super().close()


def _up_to_failure(engine: Any, piece: bytes) -> Iterator[bytes]:
    """What an unpacker makes of the bytes of `piece` that it takes."""
    for at in range(len(piece) if engine is not None else 0):
        try:
            yield engine.decompress(piece[at : at + 1])
        except zlib.error:
            return
