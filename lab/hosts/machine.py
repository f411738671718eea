"""Hosts that are this machine itself, with the RDMA devices that its own kernel drives.

Both ends run here. What they say by TLS goes between two loopback addresses; where RoCE goes is the
kernel's and the card's affair: two Soft-RoCE devices on the ends of a veth pair (over their IPv6
link-local addresses) put it on a wire, one device alone does not.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lab
from lab.endpoint.gids import Gid, devices, gids
from lab.hosts.launch import launch
from lab.hosts.model import Host, HostsError

TLS_ADDRESSES = {"server": "127.0.0.1", "client": "127.0.0.2"}
INTERFACE = "any"
_PYTHONS = (sys.executable, "/usr/bin/python3")
_TRY = "import sys, pyverbs.device; sys.exit(sys.version_info < (3, 11))"
_FOLDER = str(Path(lab.__path__[0]).parent)


class MachineHosts:
    """`Hosts` of which each is a device of this machine: `devices` has the server's first."""

    kind = "machine"
    why = ""

    def __init__(self, wanted: str = "") -> None:
        """Find the devices: `wanted` is "rxe0", both ends', or "rxe0,rxe1", the server's first.

        Without a name they are the first two there are. HostsError where there is none.
        """
        found = devices()
        names = [name.strip() for name in wanted.split(",")] if wanted else found[:2]
        if not names or len(names) > 2 or not set(names) <= set(found):
            raise HostsError(
                f"expected {wanted or 'an RDMA device of this machine'}, found "
                f"{', '.join(found) or 'none'}; rocelab doctor no-device says how to make one, and "
                "--backend vm brings its own"
            )
        self.python = python()
        self.devices = {"server": names[0], "client": names[-1]}
        self.server = _host("server", names[0])
        self.client = _host("client", names[-1])

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command`; see `Hosts.start`."""
        paths = filter(None, (_FOLDER, os.environ.get("PYTHONPATH")))
        popen.setdefault("env", {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
        return launch(command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Nothing to give back."""


@functools.cache
def python() -> str:
    """The interpreter that has pyverbs, ours or the distribution's; HostsError if neither has."""
    for program in _PYTHONS:
        try:
            done = subprocess.run(
                [program, "-c", _TRY], check=False, capture_output=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return program
    raise HostsError(
        f"expected pyverbs for {' or '.join(dict.fromkeys(_PYTHONS))} (Python 3.11 or later), "
        "found none; apt install python3-pyverbs"
    )


def _host(name: str, device: str) -> Host:
    """Of several addresses the first of a family; of IPv6 one that is not link-local before one."""
    found = sorted(gids(device), key=lambda gid: gid.address.is_link_local)
    ipv4, ipv6 = (_first(found, version) for version in (4, 6))
    return Host(name, ipv4 or "", ipv6, INTERFACE, "")


def _first(found: Sequence[Gid], version: int) -> str | None:
    return next((str(gid.address) for gid in found if gid.address.version == version), None)
