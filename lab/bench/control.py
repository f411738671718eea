"""A line to the other process: one JSON object a line, each answered by one."""

from __future__ import annotations

import json
import socket
from typing import Any


class Line:
    """One end. `receive` raises EOFError when the other process is gone, or says what it could
    not do.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rwb")

    def send(self, **message: Any) -> None:
        self._file.write(json.dumps(message).encode() + b"\n")
        self._file.flush()

    def receive(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise EOFError("it has ended")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise EOFError(message["error"])
        return message

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the other process do something, and wait for its answer."""
        self.send(do=do, **arguments)
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._connection.close()
