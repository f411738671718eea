"""The two ends of a run as processes: started, heard, ended within a limit."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MAX_KEPT = 65536
GRACE_SECONDS = 5.0


@dataclass(slots=True)
class End:
    """One process: what it has said, and its exit status once it has ended.

    `said` holds the JSON objects of its standard output, `errors` the end of its standard error.
    """

    role: str
    process: subprocess.Popen[bytes]
    said: list[dict[str, Any]] = field(default_factory=list)
    errors: bytes = b""
    status: int | None = None
    _unread: bytes = b""
    _open: int = 2

    def take(self, stream: str, piece: bytes) -> None:
        """Keep what came from "stdout" or "stderr"; nothing means that stream's end."""
        if not piece:
            self._open -= 1
        elif stream == "stderr":
            self.errors = (self.errors + piece)[-_MAX_KEPT:]
        else:
            *lines, self._unread = (self._unread + piece)[-_MAX_KEPT:].split(b"\n")
            self.said += [json.loads(line) for line in lines if line.startswith(b"{")]
        if not self._open:
            self.status = self.process.wait()

    def has_said(self, event: str) -> bool:
        """Whether it has reported `event`."""
        return any(words.get("event") == event for words in self.said)

    @property
    def trouble(self) -> str:
        """Empty if it ended well or has not ended; else how it ended and its last words."""
        if self.status is None or self.status == 0:
            return ""
        if self.status < 0:
            return f"{self.role} was killed by {signal.Signals(-self.status).name}"
        lines = self.errors.decode(errors="replace").strip().splitlines()
        return f"{self.role} ended with status {self.status}: {lines[-1] if lines else 'no reason'}"


class Ends:
    """Both ends. A context manager: when it ends, they have ended."""

    def __init__(self) -> None:
        self.by_role: dict[str, End] = {}
        self.failed_first = ""
        self._selector = selectors.DefaultSelector()

    def add(self, role: str, process: subprocess.Popen[bytes]) -> End:
        """Watch a process whose standard output and error are pipes."""
        end = self.by_role[role] = End(role, process)
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert stream is not None
            self._selector.register(stream, selectors.EVENT_READ, (end, name, stream.close))
        return end

    @property
    def ended(self) -> bool:
        """Whether all have ended."""
        return all(end.status is not None for end in self.by_role.values())

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Listen until `done()`, at most `seconds`; whether it is done."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.get_map():
                return False
            for key, _ in self._selector.select(left):
                end, name, close = key.data
                piece = os.read(key.fd, 65536)
                if not piece:
                    self._selector.unregister(key.fileobj)
                    close()
                end.take(name, piece)
                self.failed_first = self.failed_first or end.trouble
        return True

    def stop(self) -> None:
        """End those that have not ended: asked first, then killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for end in self.by_role.values():
                if end.status is None:
                    end.process.send_signal(number)
            if self.wait(lambda: self.ended, GRACE_SECONDS):
                return

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._selector.close()
