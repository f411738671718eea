"""Makes two network namespaces joined by a veth pair and hands them to whoever asked.

    python -m lab.hosts.veth SOCKET_FD netns|userns MTU

A program of its own because only a single-threaded process may enter a new user namespace. It
answers on the socket with one JSON object and, if all went well, the file descriptors of the
namespaces: user (if any), server, client. They live as long as one of these is open or a process is
in them, so nothing has to be cleaned up, whoever is killed.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from lab.hosts.enter import CLONE_NEWNET, CLONE_NEWUSER, setns, unshare
from lab.hosts.model import CLIENT, SERVER, Host

_IFA_F_NODAD = 0x02
_IN6_ADDR_GEN_MODE_NONE = 1
OFFLOAD = re.compile("^tx-checksum|^rx-gro|^tx-gso|segmentation$")
_INNER_ID = 1000
_ATTEMPTS = 50
_ATTEMPT_SECONDS = 0.04
_PROBE_PORT = 9  # discard (RFC 863)


def become_user_namespace() -> None:
    """Enter a new user namespace, with every capability there but not as root.

    The calling user keeps its ids. Root becomes _INNER_ID: tcpdump as root insists on changing to
    another user, and there is only one in such a namespace.
    """
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")  # user_namespaces(7): before gid_map
    Path("/proc/self/uid_map").write_text(f"{uid or _INNER_ID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid or _INNER_ID} {gid} 1")


def new_network() -> int:
    """Enter a new network namespace; return a file descriptor of it."""
    unshare(CLONE_NEWNET)
    return os.open("/proc/self/ns/net", os.O_RDONLY)


def join(here: Host, there: Host, there_fd: int, mtu: int) -> None:
    """Make the veth pair: `here`'s end in the current namespace, `there`'s in the other."""
    with IPRoute() as route:
        route.link(
            "add",
            ifname=here.interface,
            kind="veth",
            mtu=mtu,
            address=here.mac,
            peer={"ifname": there.interface, "mtu": mtu, "address": there.mac},
        )
        (index,) = route.link_lookup(ifname=there.interface)
        route.link("set", index=index, net_ns_fd=there_fd)


def configure(host: Host) -> None:
    """Bring up the current namespace's end: no offloads, no address but the two it is given."""
    with IPRoute() as route:
        (loopback,) = route.link_lookup(ifname="lo")
        route.link("set", index=loopback, state="up")
        (index,) = route.link_lookup(ifname=host.interface)
        no_link_local = {
            "attrs": [
                ("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _IN6_ADDR_GEN_MODE_NONE)]})
            ]
        }
        route.link("set", index=index, IFLA_AF_SPEC=no_link_local)
        switch_off_offloads(host.interface)
        route.link("set", index=index, state="up")
        route.addr("add", index=index, address=host.ipv4, prefixlen=24)
        route.addr("add", index=index, address=host.ipv6, prefixlen=64, flags=_IFA_F_NODAD)


def switch_off_offloads(interface: str) -> None:
    """Turn off what makes the kernel hand over frames that no wire would carry.

    Those are frames merged, not yet segmented, or with a checksum still to be filled in.
    """
    device = IoctlEthtool(interface)
    features = device.get_features()
    for name, *_ in features:
        if OFFLOAD.search(name) and features.is_available(name):
            features[name] = False
    device.set_features(features)
    device.close()


def wait_until_usable(server: int, client: int) -> None:
    """Return once a datagram has crossed in each family; TimeoutError if none does."""
    for family, address in ((socket.AF_INET, SERVER.ipv4), (socket.AF_INET6, SERVER.ipv6)):
        setns(server)
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.settimeout(_ATTEMPT_SECONDS)
        receiver.bind((address, _PROBE_PORT))
        setns(client)
        with receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.connect((address, _PROBE_PORT))
            _send_until_received(sender, receiver)


def _send_until_received(sender: socket.socket, receiver: socket.socket) -> None:
    for _ in range(_ATTEMPTS):
        sender.send(b"")
        try:
            receiver.recv(1)
        except TimeoutError:
            continue
        return
    raise TimeoutError("no datagram crossed the veth pair within 2 s")


def build(kind: str, mtu: int) -> list[int]:
    """Make it all; return the namespaces as file descriptors, in the order they are joined in."""
    user = []
    if kind == "userns":
        become_user_namespace()
        user = [os.open("/proc/self/ns/user", os.O_RDONLY)]
    server, client = new_network(), new_network()
    join(CLIENT, SERVER, server, mtu)
    configure(CLIENT)
    setns(server)
    configure(SERVER)
    wait_until_usable(server, client)
    return [*user, server, client]


def main() -> None:
    """Build and answer."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        fds = build(sys.argv[2], int(sys.argv[3]))
    except Exception as error:  # whatever it is, the one who asked reports it
        why = error.strerror if isinstance(error, OSError) else ""
        why = why or f"{type(error).__name__}: {error}"
        channel.send(json.dumps({"error": why}).encode())
        return
    socket.send_fds(channel, [b"{}"], fds)


if __name__ == "__main__":
    main()
