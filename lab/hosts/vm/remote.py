"""Stands on this machine for a program in a guest: same output, same end, passes signals on.

    python -I -S remote.py PORT_FD ID [FILE_FD ...] -- PROGRAM [ARGUMENT ...]

PORT_FD is this machine's end of one of the guest's ports; see agent.py for what passes through it.
The program has copies of the files FILE_FD under the same file descriptors.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def messages(port: socket.socket) -> Iterator[dict[str, Any]]:
    """What the guest says, until it is no more; lines torn by a predecessor are passed over."""
    pending = b""
    while data := _received(port):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message


def _received(port: socket.socket) -> bytes:
    try:
        return port.recv(65536)
    except ConnectionResetError:
        return b""


def main() -> int:
    """Run the program; its exit status, or death by the signal that killed it."""
    port = socket.socket(fileno=int(sys.argv[1]))
    before = sys.argv.index("--")
    number, fds, command = sys.argv[2], sys.argv[3:before], sys.argv[before + 1 :]

    def tell(**message: Any) -> None:
        # The newline before ends what a predecessor may have left unfinished.
        port.sendall(b"\n" + json.dumps({"id": number, **message}).encode() + b"\n")

    for each in _PASSED_ON:
        signal.signal(each, lambda received, _frame: tell(signal=received))
    files = {fd: base64.b64encode(_content(int(fd))).decode() for fd in fds}
    tell(start=command, files=files, time_ns=time.time_ns())
    streams = {"out": sys.stdout.buffer, "err": sys.stderr.buffer}
    for message in messages(port):
        if message.get("id") != number:
            continue
        for name, stream in streams.items():
            if name in message:
                stream.write(base64.b64decode(message[name]))
                stream.flush()
        if "exit" in message:
            return _end(int(message["exit"]))
    sys.stderr.write("the guest ended while this program ran in it; see its console log\n")
    return 1


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _end(status: int) -> int:
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
