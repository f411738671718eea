"""Runs inside a guest and starts programs there, told through virtio ports; stdlib alone.

A port runs one program at a time. Lines of JSON, each with the `id` of the program it is about:

    to the guest    {"id", "start": [word, ...], "files": {number: base64}, "time_ns"}
                    {"id", "signal": number}
    to the host     {"id", "out": base64} or {"id", "err": base64}, then {"id", "exit": status}

`files` are open in the program under the file descriptors given. `exit` is as
subprocess.Popen.returncode; a program that cannot be started has its reason as `err` and the status
127. A new start ends whatever still runs at that port. The first sets the guest's clock.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PORTS = Path("/sys/class/virtio-ports")
CHUNK = 32768
_HIGH = 200  # our own file descriptors begin here, out of the way of those a program is to have


class Port:
    """One port and the program it runs."""

    def __init__(self, device: Path) -> None:
        self._fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        self._writing = threading.Lock()
        self._id: Any = None
        self._process = 0

    def serve(self) -> None:
        """Do as told, for ever."""
        for line in self._lines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._obey(json.loads(line))

    def _lines(self) -> Iterator[bytes]:
        pending = b""
        while data := os.read(self._fd, CHUNK):
            *lines, pending = (pending + data).split(b"\n")
            yield from lines

    def _obey(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self._kill(signal.SIGKILL)
            self._id = message["id"]
            _set_clock(message["time_ns"])
            self._start(message["id"], message["start"], message["files"])
        elif message["id"] == self._id:
            self._kill(message["signal"])

    def _kill(self, number: int) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process, number)

    def _start(self, number: Any, command: list[str], files: dict[str, str]) -> None:
        theirs = {int(fd): _memory_file(base64.b64decode(data)) for fd, data in files.items()}
        theirs[0] = _high(os.open(os.devnull, os.O_RDONLY))
        ours = {}
        for fd, name in ((1, "out"), (2, "err")):
            reading, writing = os.pipe()
            ours[name], theirs[fd] = _high(reading), _high(writing)
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in theirs.items()]
        try:
            self._process = os.posix_spawnp(
                command[0], command, os.environ, file_actions=actions, setsid=True
            )
        except OSError as error:
            self._process = 0
            reason = f"cannot run {command[0]}: {error.strerror}\n"
            self._tell(number, err=_text(reason.encode()))
        finally:
            for fd in theirs.values():
                os.close(fd)
        arguments = (number, self._process, ours)
        threading.Thread(target=self._follow, args=arguments, daemon=True).start()

    def _follow(self, number: Any, process: int, streams: dict[str, int]) -> None:
        pumps = [
            threading.Thread(target=self._pump, args=(number, name, fd), daemon=True)
            for name, fd in streams.items()
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) if process else 127
        if self._process == process:
            self._process = 0
        self._tell(number, exit=status)

    def _pump(self, number: Any, name: str, fd: int) -> None:
        while data := os.read(fd, CHUNK):
            self._tell(number, **{name: _text(data)})
        os.close(fd)

    def _tell(self, number: Any, **message: Any) -> None:
        line = json.dumps({"id": number, **message}).encode() + b"\n"
        with self._writing:
            while line:
                line = line[os.write(self._fd, line) :]


_clock_is_set = threading.Lock()


def _set_clock(time_ns: int) -> None:
    """Once: the guest's own clock was only set to the second."""
    if _clock_is_set.acquire(blocking=False):
        time.clock_settime_ns(time.CLOCK_REALTIME, time_ns)


def _high(fd: int) -> int:
    """The same file under a number that no program asks for."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(fd)
    return moved


def _memory_file(content: bytes) -> int:
    fd = _high(os.memfd_create("file"))
    with open(os.dup(fd), "wb") as stream:  # noqa: PTH123 - a file descriptor
        stream.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Serve every port until the time the host gave this guest (seconds, 0: no end) is over."""
    for entry in PORTS.iterdir():
        name = entry / "name"
        if not (name.exists() and name.read_text().startswith("lab")):
            continue  # a console
        threading.Thread(target=Port(Path("/dev") / entry.name).serve, daemon=True).start()
    threading.Event().wait(float(os.environ.get("LAB_SECONDS", "0")) or None)


if __name__ == "__main__":
    main()
