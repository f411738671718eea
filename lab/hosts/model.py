"""What a pair of hosts is to everyone who uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["netns", "userns", "loopback"]


class HostsError(Exception):
    """The hosts asked for cannot be made here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Host:
    """One end: `name` is "server" or "client"; `ipv6` is None where the host has none."""

    name: str
    ipv4: str
    ipv6: str | None
    interface: str
    mac: str

    def address(self, family: int) -> str:
        """Its IP address of `family` 4 or 6; HostsError if it has none."""
        if family == 4:
            return self.ipv4
        if self.ipv6 is None:
            raise HostsError(
                f"host {self.name} has no IPv6 address of its own on {self.interface}: expected "
                "network namespaces, found loopback; use --family 4, or see `rocelab doctor`"
            )
        return self.ipv6


SERVER = Host("server", "10.0.0.1", "fd00::1", "veth-server", "02:00:00:00:00:01")
CLIENT = Host("client", "10.0.0.2", "fd00::2", "veth-client", "02:00:00:00:00:02")


class Hosts(Protocol):
    """Two hosts, `server` and `client`, that can reach each other."""

    why: str  # why not a better kind; empty for the best
    server: Host
    client: Host

    @property
    def kind(self) -> str:
        """One of Kind, or "vm" or "interop"."""

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process on the host named `host`; it is killed when the calling thread ends."""

    def close(self) -> None:
        """Give up the hosts; processes started on them must have ended."""
