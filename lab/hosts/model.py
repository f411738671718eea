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
    """One end: `name` is "server" or "client"; `ipv4` is "", `ipv6` None where it has none."""

    name: str
    ipv4: str
    ipv6: str | None
    interface: str
    mac: str

    def address(self, family: int) -> str:
        """Its IP address of `family` 4 or 6; HostsError if it has none."""
        found = self.ipv4 if family == 4 else self.ipv6
        if not found:
            have = f"IPv{10 - family} alone; use --family {10 - family}"
            raise HostsError(
                f"expected an IPv{family} address of host {self.name} on {self.interface}, found "
                f"{have}, or see `rocelab doctor`"
            )
        return found


SERVER = Host("server", "10.0.0.1", "fd00::1", "veth-server", "02:00:00:00:00:01")
CLIENT = Host("client", "10.0.0.2", "fd00::2", "veth-client", "02:00:00:00:00:02")


class Hosts(Protocol):
    """Two hosts, `server` and `client`, that can reach each other."""

    why: str  # why not a better kind; empty for the best
    server: Host
    client: Host

    @property
    def kind(self) -> str:
        """One of Kind, or "vm", "interop" or "machine"."""

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process on the host named `host`; it is killed when the calling thread ends."""

    def close(self) -> None:
        """Give up the hosts; processes started on them must have ended."""
