"""The bytes of a capture file, decompressed, read forward with the offset known."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from captures.files import open_regular
from captures.model import CaptureError
from captures.unpack import Unpacked, kind_of


class Stream:
    """Forward reader of `source`, which reads like a file, and seeks where `seek` is used or `size`
    tells how long it is.

    `offset` is the place of the next byte; `failure` says why bytes ended early. A torn or corrupt
    compressed file gives the bytes that came out of it and then ends, with `failure` set: how a
    short read is judged is the format's business.
    """

    def __init__(
        self,
        file: str,
        source: Any,
        *,
        failure: str = "",
        unpacked: Unpacked | None = None,
        size: Callable[[], int] | None = None,
    ) -> None:
        self.file = file
        self.offset = 0
        self._source = source
        self._failure = failure
        self._unpacked = unpacked
        self._size = size
        self._ahead = b""

    @property
    def failure(self) -> str:
        """Why the bytes ended before their time, "" where they did not."""
        return self._failure or (self._unpacked.failure if self._unpacked else "")

    def _pull(self, count: int) -> bytes:
        try:
            return bytes(self._source.read(count))
        except OSError as error:
            self._failure = error.strerror or str(error)
            return b""

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
        if self._size is not None:
            # Bytes of a mapped file that are not read are not held either.
            self.seek(max(start, min(start + count, self._size())))
            return self.offset - start
        while (left := start + count - self.offset) > 0 and self.read(min(left, 1 << 20)):
            pass
        return self.offset - start

    def seek(self, offset: int) -> None:
        """Go to `offset` of an uncompressed file."""
        self._source.seek(offset)
        self.offset, self._ahead = offset, b""

    def close(self) -> None:
        """Close the file."""
        self._source.close()

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
            return _opened("standard input", io.BufferedReader(io.FileIO(0, closefd=False)))
        raw = open_regular(name)
        return _opened(name, raw, lambda: os.fstat(raw.fileno()).st_size)
    except OSError as error:
        reason = (error.strerror or str(error)).removeprefix("expected a regular file, found ")
        raise CaptureError(
            name, 0, "a readable capture file", reason, "check the path and its permissions"
        ) from error


def _opened(name: str, raw: io.BufferedReader, size: Callable[[], int] | None = None) -> Stream:
    kind = kind_of(raw.peek())
    if kind is None:
        return Stream(name, raw, size=size)
    unpacked = Unpacked(raw, kind)
    return Stream(name, io.BufferedReader(unpacked, 1 << 17), unpacked=unpacked)
