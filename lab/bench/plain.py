"""Plain sockets, for comparison: UDP trains, UDP and TCP round trips, TCP bulk."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
SO_RCVBUFFORCE = 33
SEGMENT, TRAIN = 4112, 15
"""A packet of path MTU 4096, and how many of them one send may carry."""
PORT = 47910
ROUND_BYTES = 64
END = b"\xff"
_SILENCE = 30
"""Seconds after which the other end is taken for dead."""

Address = tuple[str, int]


def udp(address: str) -> socket.socket:
    """A bound socket with the same options as the transport's."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, PORT))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    with suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    return sock


def send_trains(sock: socket.socket, to: str, seconds: float) -> None:
    """Trains at full speed for `seconds`, then a short datagram a few times, lest it be lost."""
    data = [bytes(SEGMENT * TRAIN)]
    control = [(SOL_UDP, UDP_SEGMENT, SEGMENT.to_bytes(2, "little"))]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            sock.sendmsg(data, control, 0, (to, PORT))
    for _ in range(20):
        sock.sendto(END, (to, PORT))
        time.sleep(0.01)


def receive_trains(sock: socket.socket) -> tuple[int, float]:
    """(bytes, seconds) from the first train to the short datagram."""
    buffer = bytearray(1 << 16)
    total, start = 0, 0.0
    sock.settimeout(_SILENCE)
    while True:
        length = sock.recv_into(buffer)
        now = time.monotonic()
        if length <= len(END):
            if start:
                return total, now - start
            continue
        start = start or now
        total += length


def rounds(send: Callable[[bytes], object], take: Callable[[], bytes], seconds: float) -> list[int]:
    """Nanoseconds of each round trip of 64 bytes in `seconds`; then the other side is told."""
    data, found = bytes(ROUND_BYTES), []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while (start := time.perf_counter_ns()) < end:
        send(data)
        take()
        found.append(time.perf_counter_ns() - start)
    send(END * ROUND_BYTES)
    return found


def echo(send: Callable[[bytes], object], take: Callable[[], bytes]) -> None:
    """The other side of `rounds`."""
    while not (data := take()).startswith(END):
        send(data)


def polled(sock: socket.socket) -> Callable[[], bytes]:
    """Receives 64 bytes without ever sleeping; EOFError at the end of a stream."""
    sock.settimeout(0)

    def take() -> bytes:
        data = b""
        while len(data) < ROUND_BYTES:
            try:
                found = sock.recv(ROUND_BYTES - len(data))
            except BlockingIOError:
                continue
            if not found:
                raise EOFError("the connection has ended")
            data += found
        return data

    return take


def send_tcp(sock: socket.socket, seconds: float) -> None:
    """At full speed for `seconds`; then the end of the stream."""
    data = bytes(1 << 16)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(64):
            sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def receive_tcp(sock: socket.socket) -> tuple[int, float]:
    """(bytes, seconds) until the end of the stream."""
    buffer = bytearray(1 << 18)
    total, start = 0, time.monotonic()
    while length := sock.recv_into(buffer):
        total += length
    return total, time.monotonic() - start
