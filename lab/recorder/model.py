"""What a recorder is to everyone who uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Method = Literal["tcpdump", "scapy", "tap"]


class RecorderError(Exception):
    """A way of recording does not work here; the message says why."""


class Start(Protocol):
    """Starts a process where the interface to be recorded is."""

    def __call__(self, command: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets the interface showed the recorder, and those of them it could not keep."""

    received: int
    dropped: int


class Recorder(Protocol):
    """Records from the moment it exists until `stop`; `parts` are the pcap files it writes."""

    method: Method
    why: str  # why not a better method; empty for the best
    parts: Sequence[Path]

    def stop(self) -> Counts:
        """Return once all that was on the interface up to now is in `parts`."""

    def kill(self) -> None:
        """End without waiting for anything; does nothing after `stop`."""
