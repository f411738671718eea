"""`rocelab vm`: build the guests' image, open a shell in a guest."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from lab.command import USAGE, progress
from lab.hosts.launch import launch
from lab.hosts.model import HostsError
from lab.hosts.vm import build, image, terminal
from lab.hosts.vm.end import GuestEnd
from lab.hosts.vm.guest import Guest
from lab.hosts.vm.hosts import boot
from lab.recorder.link import LinkRecorder
from lab.recorder.model import RecorderError

_WELCOME = """\
This is the guest "client"; "server" is on the same wire (10.0.0.1, fd00::1). telnet server
gives a shell there. Try: ibv_devinfo; on the server ibv_rc_pingpong -g 1, here
ibv_rc_pingpong -g 1 server; rping, ib_write_bw, tcpdump -ni eth0. exit ends both.
"""


def build_image(kernel: str | None, packages: Path | None) -> int:
    """Build; the exit status. Progress goes to a terminal, one line stays."""
    try:
        made = build.build(kernel, _progress, folder=packages)
    except HostsError as error:
        progress("")
        sys.stderr.write(f"rocelab: {error}\n")
        return USAGE
    progress("")
    size = (made.initrd.stat().st_size + made.vmlinux.stat().st_size) / 1e6
    sys.stdout.write(
        f"built: kernel {made.kernel}, {len(made.packages)} packages, {size:.0f} MB in "
        f"{made.folder}\nNext: rocelab run --backend vm\n"
    )
    return 0


def _progress(fraction: float, step: str) -> None:
    width = shutil.get_terminal_size().columns - 10
    progress(f"{fraction:4.0%} {step}"[:width])


def open_shell(kernel: str | None, capture: Path | None) -> int:
    """Boot two guests, give one of them the terminal; the exit status, a script's its own."""
    try:
        hosts = boot(image.find(kernel), None, mtu=1500, progress=progress)
        with closing(hosts):
            start = functools.partial(launch, start_new_session=True)
            link = LinkRecorder(start, hosts.wires, capture or Path(os.devnull))
            hosts.start("server", ["telnetd", "-F", "-l", "/bin/sh"], stderr=subprocess.DEVNULL)
            progress("")
            try:
                client = hosts.ends["client"]
                assert isinstance(client, GuestEnd)
                return _shell(client.guest)
            finally:
                link.stop()
    except (HostsError, RecorderError) as error:
        progress("")
        sys.stderr.write(f"rocelab: {error}\n")
        return USAGE


def _shell(guest: Guest) -> int:
    if not sys.stdin.isatty():
        return guest.start(["sh", "-c", sys.stdin.read()]).wait()
    sys.stdout.write(_WELCOME)
    sys.stdout.flush()
    terminal.attach(guest)
    return 0
