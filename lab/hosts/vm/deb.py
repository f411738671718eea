"""Debian packages, read: what `dpkg-deb --fsys-tarfile` gives, without dpkg (deb(5))."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import zstandard

from lab.hosts.vm.errors import VmError

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


def _zstd(stream: IO[bytes]) -> IO[bytes]:
    return zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)


OPENERS: dict[str, Callable[[IO[bytes]], Any]] = {
    "data.tar": lambda stream: stream,
    "data.tar.xz": lzma.LZMAFile,
    "data.tar.gz": lambda stream: gzip.GzipFile(fileobj=stream),
    "data.tar.zst": _zstd,
}
"""Name of an archive's data member -> how to decompress it."""


def name(path: Path) -> str:
    """The package's name, from a file name as apt writes it (name_version_architecture.deb)."""
    return path.name.partition("_")[0]


def members(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Files, links and folders of a package, in order, with their content; names without "./".

    Raises VmError where `path` is not a whole Debian package.
    """
    try:
        with path.open("rb") as stream:
            member, content = _data(stream, path)
            with (
                closing(OPENERS[member](content)) as plain,
                tarfile.open(fileobj=plain, mode="r|") as archive,
            ):
                for info in archive:
                    info.name = info.name.removeprefix(".").strip("/")
                    file = archive.extractfile(info) if info.isreg() else None
                    yield info, file.read() if file else b""
    except (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError) as error:
        raise VmError(
            f"{path}: expected a whole Debian package, found: {error}; delete it and build again"
        ) from error


def _data(stream: IO[bytes], path: Path) -> tuple[str, IO[bytes]]:
    """The data member's name and its bytes as a stream (ar(5): a 60-byte header each, even)."""
    if stream.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise VmError(f"{path}: expected a Debian package, found another kind of file")
    while len(header := stream.read(_AR_HEADER)) == _AR_HEADER:
        member = header[:16].decode("latin-1").strip().rstrip("/")
        size = header[48:58].strip()
        if not size.isdigit():
            break
        if member in OPENERS:
            return member, io.BytesIO(stream.read(int(size)))
        stream.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise VmError(f"{path}: expected one of {', '.join(OPENERS)} inside, found none")
