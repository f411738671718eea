"""Chooses the best hosts this machine allows, and says why not better ones."""

from __future__ import annotations

import os

from lab.hosts.loopback import LoopbackHosts
from lab.hosts.model import Hosts, HostsError, Kind
from lab.hosts.netns import NamespaceHosts

KINDS: tuple[Kind, ...] = ("netns", "userns", "loopback")


def link_mtu(path_mtu: int) -> int:
    """MTU of a link that carries `path_mtu` bytes of payload with all their headers, in bytes."""
    return 1500 if path_mtu <= 1024 else 9000


def make(kind: Kind, *, mtu: int, why: str = "") -> Hosts:
    """Make hosts of exactly this kind; HostsError says why that cannot be."""
    if kind == "loopback":
        return LoopbackHosts(why)
    if kind == "netns" and os.geteuid() != 0:
        raise HostsError("making network namespaces directly takes root")
    return NamespaceHosts(kind, mtu=mtu, why=why)


def choose(forced: Kind | None = None, *, mtu: int = 1500) -> Hosts:
    """Make hosts of kind `forced`, or the first of KINDS that can be made here.

    Their `why` tells what stood in the way of a better kind; HostsError if none can be made.
    """
    if forced is not None:
        return make(forced, mtu=mtu, why="this kind was asked for")
    refusals: list[str] = []
    for kind in KINDS:
        try:
            hosts = make(kind, mtu=mtu, why="; ".join(refusals))
        except HostsError as error:
            refusals.append(f"{kind}: {error}")
            continue
        return hosts
    raise HostsError("; ".join(refusals))
