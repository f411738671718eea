"""Two hosts as two network namespaces joined by a veth pair, by root or in a user namespace."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Literal

from lab.hosts.launch import launch
from lab.hosts.model import CLIENT, SERVER, Host, HostsError, Kind

_BUILD_SECONDS = 30


class NamespaceHosts:
    """`Hosts` on a veth pair. The namespaces live by file descriptors here and by processes."""

    def __init__(self, kind: Literal["netns", "userns"], *, mtu: int, why: str = "") -> None:
        """Make the namespaces, links and addresses, ready for use; HostsError where not permitted.

        `mtu` is the link's, in bytes; `why` says why not a better kind of hosts.
        """
        self.why = why
        self.kind: Kind = kind
        self.server: Host = SERVER
        self.client: Host = CLIENT
        fds = _build(kind, mtu)
        self._user, self._network = fds[:-2], dict(zip(("server", "client"), fds[-2:], strict=True))

    def start(
        self, host: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), **popen: Any
    ) -> subprocess.Popen[bytes]:
        """Start `command` inside `host`'s namespace; see `Hosts.start`."""
        return launch(command, [*self._user, self._network[host]], pass_fds=pass_fds, **popen)

    def close(self) -> None:
        """Let go of the namespaces: they vanish with their last process. Twice does nothing."""
        for fd in (*self._user, *self._network.values()):
            os.close(fd)
        self._user, self._network = [], {}


def _build(kind: str, mtu: int) -> list[int]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "lab.hosts.veth", str(theirs.fileno()), kind, str(mtu)]
        with subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as builder:
            theirs.close()
            ours.settimeout(_BUILD_SECONDS)
            try:
                message, fds, _, _ = socket.recv_fds(ours, 65536, 3)
            except TimeoutError:
                builder.kill()
                raise HostsError(f"making {kind} hosts took more than {_BUILD_SECONDS} s") from None
            stderr = builder.communicate()[1].decode(errors="replace").strip()
    if not message:
        raise HostsError(f"making {kind} hosts failed: {stderr or 'no answer'}")
    answer = json.loads(message)
    if "error" in answer:
        raise HostsError(answer["error"])
    return fds
