"""Files that exist in memory only: keys and configurations leave nothing on a disk."""

from __future__ import annotations

import os
from contextlib import ExitStack


class MemoryFiles:
    """Files that a process started with `pass_fds=files.fds` reads by their paths.

    A context manager; when it ends this process's hold on them ends.
    """

    def __init__(self) -> None:
        self.fds: list[int] = []
        self._closing = ExitStack()

    def add(self, name: str, content: bytes) -> str:
        """Keep `content`; the path under which the process started can read it."""
        fd = os.memfd_create(name)
        self._closing.callback(os.close, fd)
        self.fds.append(fd)
        with os.fdopen(os.dup(fd), "wb") as stream:
            stream.write(content)
        return f"/proc/self/fd/{fd}"

    def __enter__(self) -> MemoryFiles:
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.close()
