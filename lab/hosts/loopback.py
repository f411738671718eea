"""Two hosts as two loopback addresses: for machines where network namespaces are not to be had."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from lab.hosts.launch import launch
from lab.hosts.model import Host, HostsError, Kind

ROCE_PORT = 4791


class LoopbackHosts:
    """`Hosts` on 127.0.0.x, the first pair of addresses nobody speaks RoCE from."""

    def __init__(self, why: str) -> None:
        """Choose addresses; `why` says why not namespaces. HostsError if every pair is taken."""
        self.kind: Kind = "loopback"
        self.why = why
        server, client = _free_pair()
        self.server = Host("server", server, None, "lo", "00:00:00:00:00:00")
        self.client = Host("client", client, None, "lo", "00:00:00:00:00:00")

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command`; see `Hosts.start`."""
        return launch(command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Nothing to give back."""


def _free_pair() -> tuple[str, str]:
    # Runs that begin at the same time begin to look in different places.
    for number in range(127):
        last = (os.getpid() + number) % 127 * 2 + 1
        pair = (f"127.0.0.{last}", f"127.0.0.{last + 1}")
        if all(map(_free, pair)):
            return pair
    raise HostsError(f"UDP port {ROCE_PORT} is taken on every address 127.0.0.1 to 127.0.0.254")


def _free(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((address, ROCE_PORT))
        return True
    return False
