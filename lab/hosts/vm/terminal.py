"""A shell in a guest, at our terminal."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from lab.hosts.vm.guest import Guest

_TTY = "/dev/hvc0"  # the guest's end of Guest.terminal
_END_OF_INPUT = b"\x04"
_CHUNK = 4096


def attach(guest: Guest) -> None:
    """Give our terminal to a shell on the guest's second console until it exits."""
    size = shutil.get_terminal_size()
    guest.start(["sh", "-c", f"stty rows {size.lines} cols {size.columns} <{_TTY}"]).wait()
    shell = ["sh", "-c", f"exec sh -l <{_TTY} >{_TTY} 2>&1"]
    process = guest.start(shell, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process, _raw(sys.stdin.fileno()), selectors.DefaultSelector() as selector:
        for file in (guest.terminal, process.stdout, sys.stdin):
            selector.register(file, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if guest.terminal in ready:
                sys.stdout.buffer.write(guest.terminal.recv(_CHUNK))
                sys.stdout.buffer.flush()
            elif process.stdout in ready:  # it says nothing there: this is its end
                return
            else:
                guest.terminal.sendall(os.read(sys.stdin.fileno(), _CHUNK) or _END_OF_INPUT)


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """The terminal as the guest's: every key goes there."""
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
