"""What a recorder is to everyone who uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Method = Literal["tcpdump", "scapy", "tap", "relay"]


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
    """Records from the moment it exists until `stop`.

    `why` says why not a better method, empty for the best. `taps` are files the endpoints
    themselves must write, by role; `parts` all files that recording makes, to be removed at last.
    """

    method: Method
    why: str
    taps: Mapping[str, Path]
    parts: Sequence[Path]

    def stop(self) -> Counts | None:
        """Return once all there was up to now is in `parts`; RecorderError if it cannot be."""

    def kill(self) -> None:
        """End without waiting for anything; does nothing after `stop`."""

    def whole(self) -> Path:
        """After `stop` or `kill`: one capture file with all that was recorded."""
