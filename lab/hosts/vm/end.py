"""A guest at an end of a link."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.hosts.model import Host
from lab.hosts.vm.guest import Guest, Machine
from lab.hosts.vm.image import Image

DEVICE = "rxe0"
_INTERFACE = "eth0"
# The kernel's own link-local address would only add packets; GIDs are made of those we give it.
# A plain queue, because the usual one (fq_codel) drops what has waited 5 ms, and a link that is
# emulated makes packets wait. Paths, because busybox' shell prefers its own, smaller programs.
_SETUP = f"""
ip() {{{{ /usr/bin/ip "$@"; }}}}
ip link set dev {_INTERFACE} addrgenmode none
ip link set dev {_INTERFACE} mtu {{mtu}} up
/usr/sbin/tc qdisc replace dev {_INTERFACE} root pfifo limit 10000
ip addr add {{host.ipv4}}/24 dev {_INTERFACE}
ip addr add {{host.ipv6}}/64 dev {_INTERFACE} nodad
rdma link add {DEVICE} type rxe netdev {_INTERFACE}
"""


class GuestEnd:
    """`lab.hosts.linked.End`: a virtual machine with Soft-RoCE. Usable once `boot` has returned."""

    endpoint = {"backend": "kernel"}
    fds: Sequence[int] = ()

    def __init__(self, image: Image, host: Host, directory: Path | None, *, mtu: int) -> None:
        """Begin to boot. `directory` is seen there under its own path and gets the console log."""
        self.host = replace(host, interface=_INTERFACE)
        self._setup = _SETUP.format(host=host, mtu=mtu)
        wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.wires = [wire]
        with theirs:
            machine = Machine(host.name, image, theirs, host.mac, mtu=mtu)
            console = directory / f"console-{host.name}.log" if directory else None
            self.guest = Guest(machine, console, [directory] if directory else [])

    def boot(self) -> None:
        """Wait until it is up and has its addresses and RDMA device; VmError says why not."""
        self.guest.boot(self._setup)

    def start(
        self, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command` in the guest; see `Guest.start`."""
        return self.guest.start(command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Turn it off."""
        self.guest.close()
        for wire in self.wires:
            wire.close()
