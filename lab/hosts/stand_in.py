"""Puts a packet socket in place of a host of a veth pair, for whoever carries its frames elsewhere.

    python -m lab.hosts.stand_in SOCKET_FD INTERFACE

Runs in the host's namespace, takes its addresses away and answers on the socket with one byte and
the file descriptor of a socket on which a message is a frame: what the other end of the pair sends
arrives there, and what is sent there arrives at the other end.
"""

from __future__ import annotations

import socket
import sys

from pyroute2 import IPRoute

_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_ETH_P_ALL = 3
_BUFFER = 8 << 20


def stand_in(interface: str) -> socket.socket:
    """The packet socket; OSError where it is not permitted."""
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=interface)
        route.flush_addr(index=index)
    frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    frames.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    frames.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    frames.bind((interface, _ETH_P_ALL))
    return frames


def main() -> None:
    """Make it and hand it over."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    with stand_in(sys.argv[2]) as frames:
        socket.send_fds(channel, [b"\0"], [frames.fileno()])


if __name__ == "__main__":
    main()
