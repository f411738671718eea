"""Two guests on one wire, which is ours: see lab.wire.relay."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lab.hosts.model import CLIENT, SERVER, Host
from lab.hosts.vm.guest import Guest, Machine
from lab.hosts.vm.image import Image

DEVICE = "rxe0"
_INTERFACE = "eth0"
# The kernel's own link-local address would only add packets; GIDs are made of those we give it.
# /usr/bin/ip, because busybox' shell prefers its own, smaller one.
_SETUP = f"""
ip() {{{{ /usr/bin/ip "$@"; }}}}
ip link set dev {_INTERFACE} addrgenmode none
ip link set dev {_INTERFACE} mtu {{mtu}} up
ip addr add {{host.ipv4}}/24 dev {_INTERFACE}
ip addr add {{host.ipv6}}/64 dev {_INTERFACE} nodad
rdma link add {DEVICE} type rxe netdev {_INTERFACE}
"""


def in_guest(host: Host) -> Host:
    """The same host in a guest, whose interface is called otherwise."""
    return Host(host.name, host.ipv4, host.ipv6, _INTERFACE, host.mac)


def setup(host: Host, mtu: int) -> str:
    """Shell script that makes a guest `host`, with an RDMA device on a link of `mtu` bytes."""
    return _SETUP.format(host=host, mtu=mtu)


class VmHosts:
    """`Hosts` as two virtual machines with Soft-RoCE.

    The frames of each end arrive at, and are given to, its socket in `wires`: whoever holds them is
    the link, and until somebody does there is none.
    """

    def __init__(
        self, image: Image, directory: Path | None, *, mtu: int, progress: Callable[[str], None]
    ) -> None:
        """Boot both; `directory` is seen in both under its own path, and gets the console logs.

        With none, nothing is shared and the logs are lost.

        VmError says why a guest did not start.
        """
        self.kind = "vm"
        self.why = ""
        self.server = in_guest(SERVER)
        self.client = in_guest(CLIENT)
        self.guests: dict[str, Guest] = {}
        self.wires: dict[str, socket.socket] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for host in (self.server, self.client):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                self.wires[host.name] = ours
                with theirs:
                    machine = Machine(host.name, image, theirs, host.mac, mtu=mtu)
                    shares = [directory] if directory else []
                    console = directory / f"console-{host.name}.log" if directory else None
                    self.guests[host.name] = Guest(machine, console, shares)
            for host in (self.server, self.client):
                progress(f"booting the {host.name} (kernel {image.kernel})")
                self.guests[host.name].boot(setup(host, mtu))
            undo.pop_all()

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command` in a guest; see `Hosts.start` and `Guest.start`."""
        return self.guests[host].start(command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Turn both off."""
        for guest in self.guests.values():
            guest.close()
        for wire in self.wires.values():
            wire.close()
