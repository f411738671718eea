"""Files that strangers give: regular ones only, and no more of them than is believed.

Standard library only. A FIFO or a device in place of a file would never end, or never begin.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file for reading; raises OSError where it is no regular file, without waiting."""
    # Opening a FIFO waits for its writer unless told not to; a regular file does not care.
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 - Path.open takes no opener; the caller closes it
    found = KINDS.get(stat.S_IFMT(os.fstat(stream.fileno()).st_mode))
    if found is None:
        return stream
    stream.close()
    raise OSError(errno.EINVAL, f"expected a regular file, found {found}", str(path))


def read_whole(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file; raises OSError where there are more than `limit`."""
    with open_regular(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"expected at most {limit} bytes, found more", str(path))
    return content


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no number in JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse)


def strict_json(text: bytes) -> Any:
    """JSON as RFC 8259 has it, without NaN and infinities; raises ValueError, RecursionError."""
    return _STRICT.decode(text.decode(json.detect_encoding(text), "surrogatepass"))
