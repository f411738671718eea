"""Two hosts on a link that is ours: whoever holds its sockets carries, spoils and records frames.

Each end may be a guest, whose kernel has the RDMA device, or a network namespace, where an endpoint
brings its own. What is behind the link looks the same from the other end.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Protocol

from lab.hosts.choose import make
from lab.hosts.model import Host, HostsError, Kind
from lab.hosts.netns import NamespaceHosts

_SECONDS = 15


class End(Protocol):
    """One end of the link."""

    @property
    def host(self) -> Host:
        """Its name and addresses."""

    @property
    def wires(self) -> Sequence[socket.socket]:
        """Its sockets, for whoever carries the frames (lab.wire.port)."""

    @property
    def endpoint(self) -> Mapping[str, str]:
        """Keys of the configuration of an endpoint there (lab.endpoint.config)."""

    @property
    def fds(self) -> Sequence[int]:
        """File descriptors that such an endpoint is given."""

    def start(
        self, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """As `Hosts.start`."""

    def close(self) -> None:
        """As `Hosts.close`."""


class LinkedHosts:
    """`Hosts` of two ends, which it takes over. Nothing crosses until somebody carries frames."""

    def __init__(self, kind: str, server: End, client: End, *, why: str = "") -> None:
        self.kind, self.why = kind, why
        self.ends = {"server": server, "client": client}
        self.server, self.client = server.host, client.host

    @property
    def wires(self) -> dict[str, list[int]]:
        """The sockets of each end, as file descriptors."""
        return {name: [wire.fileno() for wire in end.wires] for name, end in self.ends.items()}

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command` at an end; see `Hosts.start`."""
        return self.ends[host].start(command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Give up both ends."""
        with ExitStack() as stack:
            for end in self.ends.values():
                stack.callback(end.close)


class NamespaceEnd:
    """A network namespace at the end of the link.

    As on a machine with an RDMA card, RoCE does not pass through its network stack: an endpoint
    speaks it in frames on a socket of its own.
    """

    def __init__(
        self, host: Host, neighbour: Host, *, mtu: int, forced: Kind | None = None
    ) -> None:
        """Make the namespace of `host`, of kind `forced` or the best that can be made here.

        HostsError where there can be none.
        """
        with ExitStack() as stack:
            self._namespaces = stack.enter_context(closing(_namespaces(mtu, forced)))
            self.kind, self.why = self._namespaces.kind, self._namespaces.why
            self.host: Host = getattr(self._namespaces, host.name)
            device, roce = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            stack.enter_context(device)
            stack.enter_context(roce)
            other = self._namespaces.client if host.name == "server" else self._namespaces.server
            stack_socket = stack.enter_context(_in_place_of(self._namespaces, other))
            self.wires = [stack_socket, roce]
            self.fds = [device.fileno()]
            link = f"{device.fileno()} {self.host.mac} {neighbour.mac}"
            self.endpoint = {"backend": "userspace", "link": link}
            self._stack = stack.pop_all()

    def start(
        self, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command` in the namespace."""
        return self._namespaces.start(self.host.name, command, pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Let go of the namespace; twice does nothing."""
        self._stack.close()


def _namespaces(mtu: int, forced: Kind | None) -> NamespaceHosts:
    refusals: list[str] = []
    kinds: tuple[Kind, ...] = ("netns", "userns") if forced is None else (forced,)
    for kind in kinds:
        if kind == "loopback":
            refusals.append("loopback: its packets cross no link that is ours")
            continue
        try:
            made = make(kind, mtu=mtu, why="; ".join(refusals))
        except HostsError as error:
            refusals.append(f"{kind}: {error}")
        else:
            assert isinstance(made, NamespaceHosts)
            return made
    raise HostsError(
        f"expected a network namespace at our end of the link, found none; {'; '.join(refusals)}"
    )


def _in_place_of(namespaces: NamespaceHosts, other: Host) -> socket.socket:
    """A socket for the frames of the namespace's other end; see stand_in.py."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        module = [sys.executable, "-m", "lab.hosts.stand_in", str(theirs.fileno())]
        with namespaces.start(
            other.name,
            [*module, other.interface],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        ) as process:
            theirs.close()
            ours.settimeout(_SECONDS)
            message, fds, _, _ = socket.recv_fds(ours, 1, 1)
            said = process.communicate()[1].decode(errors="replace").strip()
    if not message:
        raise HostsError(
            f"taking the place of {other.interface} failed: {said[-300:] or 'no reason given'}"
        )
    return socket.socket(fileno=fds[0])
