"""The two ends of all measurements: one in this process, one in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.bench.control import Line
from lab.bench.end import TIMEOUT, End, cpu_seconds
from lab.bench.errors import BenchError
from lab.bench.row import Row

LENGTH = 1 << 24
"""Bytes of registered memory at either end."""
_PATIENCE = 10
"""Seconds that the other process may take to end."""


@dataclass(slots=True)
class Bench:
    """What a measurement needs. `seconds` is about how long each may take; addresses are IPv4."""

    end: End
    line: Line
    address: str
    other: str
    seconds: float

    def connect(
        self, count: int, depth: int, path_mtu: int, timeout: int = TIMEOUT
    ) -> list[dict[str, Any]]:
        """`count` new connections in place of the old; what the peer says of each."""
        theirs: list[dict[str, Any]] = self.line.ask("open", count=count, depth=depth)["peers"]
        ours = self.end.open(count, depth)
        self.line.ask("connect", peers=ours, path_mtu=path_mtu)
        self.end.connect(theirs, path_mtu, timeout)
        return theirs

    def cpu_seconds(self) -> float:
        """Of both processes so far."""
        return cpu_seconds() + float(self.line.ask("state")["cpu_s"])


Measurement = Callable[[Bench], Iterator[Row]]


def addresses(number: int) -> tuple[str, str]:
    """Two of this machine's, which process `number` does not share with many others."""
    low = f"{number >> 8 & 0xFF}.{number & 0xFF}"
    return f"127.41.{low}", f"127.42.{low}"


@contextmanager
def bench(seconds: float, *, fast: bool = True) -> Iterator[Bench]:
    """Both ends; whatever happens, nothing of them is left. Raises BenchError.

    Without `fast` the engine alone is measured, not compiled code.
    """
    address, other = addresses(os.getpid())
    try:
        end = End(address, LENGTH, fast=fast)
    except OSError as error:
        raise BenchError(
            f"expected {address} port 4791 to be free, found: {error.strerror or error}"
        ) from None
    ours, theirs = socket.socketpair()
    arguments = theirs.fileno(), other, address, LENGTH, os.getpid(), int(fast)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.bench.peer", *map(str, arguments)], pass_fds=[theirs.fileno()]
    )
    theirs.close()
    line = Line(ours)
    try:
        line.receive()
        yield Bench(end, line, address, other, seconds)
        line.send(do="stop")
        process.wait(_PATIENCE)
    except EOFError as error:
        raise BenchError(f"expected the other process to go on, found: {error}") from None
    finally:
        process.kill()
        process.wait()
        line.close()
        end.close()
