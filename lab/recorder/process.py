"""Records with a program that speaks as tcpdump does: tcpdump itself, or our sniffer on scapy.

Both say `listening on` once the capture has begun, answer SIGUSR1 with their packet counts and end
on SIGINT. So nothing here has to guess how long a capture takes to begin, or to catch up.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from lab.recorder.listening import STOP_SECONDS, Listening
from lab.recorder.model import Counts, Method, RecorderError, Start

_QUIET_SECONDS = 0.5
_RING_KIB = 64 * 1024
EVERY = "any"
"""What tcpdump calls all interfaces together."""
_COUNT = re.compile(r"(\d+) packets? (captured|received by filter|dropped by kernel)")


def _tcpdump(interface: str, path: Path, expression: str) -> list[str]:
    program = shutil.which("tcpdump", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if program is None:
        raise RecorderError("tcpdump is not installed")
    options = ["-i", interface, "-w", str(path), "-B", str(_RING_KIB), "-n", "-p"]
    options += ["-U", "--immediate-mode", "--nano"]
    if interface == "lo":
        options += ["-s", "16384"]  # the size of the ring's slots; or it would be 256 KiB
    if interface == EVERY:
        # What leaves one interface for another comes in there; on lo nothing is seen leaving.
        options += ["-Q", "in"]
    if os.geteuid() == 0:
        options += ["-Z", "root"]  # or it could not write into a directory of root's
    return [program, *options, *([expression] if expression else [])]


def _sniffer(interface: str, path: Path, expression: str) -> list[str]:
    return [sys.executable, "-m", "lab.recorder.sniffer", interface, str(path), expression]


Program = Literal["tcpdump", "scapy"]
COMMANDS: dict[Program, Callable[[str, Path, str], list[str]]] = {
    "tcpdump": _tcpdump,
    "scapy": _sniffer,
}


class ProcessRecorder:
    """`Recorder` on a network interface."""

    def __init__(
        self,
        method: Program,
        start: Start,
        interface: str,
        path: Path,
        *,
        expression: str = "",
        why: str = "",
    ) -> None:
        """Begin recording `interface` into the pcap file `path`; returns when it has begun.

        `expression` is a pcap filter. RecorderError if the program is missing or not permitted.
        """
        self.method: Method = method
        self.why = why
        self.taps: Mapping[str, Path] = {}
        self.parts: Sequence[Path] = (path,)
        # tcpdump counts both copies of what stays on this machine, and writes what comes in.
        self._copies = 2 if method == "tcpdump" and interface in ("lo", EVERY) else 1
        command = COMMANDS[method](interface, path, expression)
        process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._program = Listening(method, process)

    def stop(self) -> Counts:
        """See `Recorder.stop`. RecorderError if the program has died or cannot catch up."""
        try:
            counts = self._caught_up(time.monotonic() + STOP_SECONDS)
            self._program.finish()
        finally:
            self.kill()
        return Counts(counts["received by filter"] // self._copies, counts["dropped by kernel"])

    def kill(self) -> None:
        """See `Recorder.kill`."""
        self._program.kill()

    def whole(self) -> Path:
        """See `Recorder.whole`."""
        return self.parts[0]

    def _caught_up(self, deadline: float) -> dict[str, int]:
        """Its counts once all that the kernel kept for it is written.

        On loopback with drops nobody knows how many of both copies were kept: no progress will do.
        """
        last: dict[str, int] = {}
        since = time.monotonic()
        while True:
            said = self._program.ask(signal.SIGUSR1, _complete, deadline - time.monotonic())
            counts = {what: int(count) for count, what in _COUNT.findall(said)}
            kept = counts["received by filter"] - counts["dropped by kernel"]
            now = time.monotonic()
            if counts != last:
                last, since = counts, now
            if counts["captured"] * self._copies >= kept or now - since > _QUIET_SECONDS:
                return counts


def _complete(said: str) -> bool:
    return "dropped by kernel" in said and said.endswith("\n")
