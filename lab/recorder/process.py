"""Records with a program that speaks as tcpdump does: tcpdump itself, or our sniffer on scapy.

Both say `listening on` once the capture has begun, answer SIGUSR1 with their packet counts and end
on SIGINT. So nothing here has to guess how long a capture takes to begin, or to catch up.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from lab.recorder.model import Counts, Method, RecorderError, Start

_START_SECONDS = 15.0
_STOP_SECONDS = 15.0
_QUIET_SECONDS = 0.5
_RING_KIB = 64 * 1024
_COUNT = re.compile(r"(\d+) packets? (captured|received by filter|dropped by kernel)")


def _tcpdump(interface: str, path: Path, expression: str) -> list[str]:
    program = shutil.which("tcpdump", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if program is None:
        raise RecorderError("tcpdump is not installed")
    options = ["-i", interface, "-w", str(path), "-B", str(_RING_KIB), "-n", "-p"]
    options += ["-U", "--immediate-mode", "--nano"]
    if interface == "lo":
        options += ["-s", "16384"]  # the size of the ring's slots; or it would be 256 KiB
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
        self.parts: Sequence[Path] = (path,)
        command = COMMANDS[method](interface, path, expression)
        self._process = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._said = ""
        # tcpdump counts both copies of what crosses loopback, and writes the one that comes in.
        self._copies = 2 if (method, interface) == ("tcpdump", "lo") else 1
        try:
            self._await(lambda: "listening on" in self._said, _START_SECONDS)
        except RecorderError:
            self.kill()
            raise

    def stop(self) -> Counts:
        """See `Recorder.stop`. RecorderError if the program has died or cannot catch up."""
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            counts = self._caught_up(deadline)
            self._process.send_signal(signal.SIGINT)
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise RecorderError(f"{self.method} did not end within {_STOP_SECONDS:g} s") from None
        finally:
            self.kill()
        return Counts(counts["received by filter"] // self._copies, counts["dropped by kernel"])

    def kill(self) -> None:
        """See `Recorder.kill`."""
        self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _caught_up(self, deadline: float) -> dict[str, int]:
        """Its counts once all that the kernel kept for it is written.

        On loopback with drops nobody knows how many of both copies were kept: no progress will do.
        """
        last: dict[str, int] = {}
        since = time.monotonic()
        while True:
            counts = self._ask(deadline)
            kept = counts["received by filter"] - counts["dropped by kernel"]
            now = time.monotonic()
            if counts != last:
                last, since = counts, now
            if counts["captured"] * self._copies >= kept or now - since > _QUIET_SECONDS:
                return counts

    def _ask(self, deadline: float) -> dict[str, int]:
        """Its packet counts now."""
        self._said = ""
        self._process.send_signal(signal.SIGUSR1)
        self._await(
            lambda: "dropped by kernel" in self._said and self._said.endswith("\n"),
            deadline - time.monotonic(),
        )
        return {what: int(count) for count, what in _COUNT.findall(self._said)}

    def _await(self, done: Callable[[], bool], seconds: float) -> None:
        """Read what the program says until `done()`; RecorderError when it ends or takes longer."""
        stderr = self._process.stderr
        assert stderr is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stderr, selectors.EVENT_READ)
            while not done():
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RecorderError(f"{self.method} said nothing for {seconds:.0f} s")
                piece = os.read(stderr.fileno(), 65536)
                if not piece:
                    raise RecorderError(f"{self.method} ended: {self._last_words()}")
                self._said += piece.decode(errors="replace")

    def _last_words(self) -> str:
        words = " ".join(self._said.replace(f"{self.method}:", " ").split())
        return words[-300:] or "without a word"
