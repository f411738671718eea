"""The bytes of a capture file, decompressed, read forward with the offset known."""

from __future__ import annotations

import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from captures.files import open_regular
from captures.model import CaptureError


def _zstd(raw: Any) -> Any:
    # Imported here: an endpoint inside a bare guest has the standard library only.
    zstandard = importlib.import_module("zstandard")
    return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)


DECOMPRESSORS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class Stream:
    """Forward reader. `offset` is the place of the next byte; `failure` says why bytes ended early.

    A torn or corrupt compressed file gives the bytes that came out of it and then ends, with
    `failure` set: how a short read is judged is the format's business.
    """

    def __init__(self, file: str, raw: io.BufferedReader) -> None:
        self.file = file
        self.offset = 0
        self.failure = ""
        self._raw = raw
        head = raw.peek()
        opener = next((f for magic, f in DECOMPRESSORS.items() if head.startswith(magic)), None)
        self.compressed = opener is not None
        self._source: Any = opener(raw) if opener else raw
        self._ahead = b""

    def _pull(self, count: int) -> bytes:
        pieces = []
        while count > 0:
            try:
                piece = self._source.read(count)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                self.failure = str(error)
                break
            except Exception as error:
                if type(error).__name__ != "ZstdError":
                    raise
                self.failure = str(error)
                break
            if not piece:
                break
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only where the file ends."""
        ahead, self._ahead = self._ahead[:count], self._ahead[count:]
        data = ahead + self._pull(count - len(ahead)) if len(ahead) < count else ahead
        self.offset += len(data)
        return data

    def peek(self, count: int) -> bytes:
        """The next `count` bytes without moving on."""
        if len(self._ahead) < count:
            self._ahead += self._pull(count - len(self._ahead))
        return self._ahead[:count]

    def skip(self, count: int) -> int:
        """Move on by `count` bytes in bounded memory; the number that there was."""
        start = self.offset
        while (left := start + count - self.offset) > 0 and self.read(min(left, 1 << 20)):
            pass
        return self.offset - start

    def close(self) -> None:
        """Close the file."""
        self._source.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_stream(path: str | Path) -> Stream:
    """Open a file, or standard input for "-", decompressing gzip, zstd and xz.

    Raises CaptureError if the file cannot be opened.
    """
    name = str(path)
    try:
        if name == "-":
            return Stream("standard input", io.BufferedReader(io.FileIO(0, closefd=False)))
        return Stream(name, open_regular(name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise CaptureError(
            name, 0, "a readable capture file", reason, "check the path and its permissions"
        ) from error
