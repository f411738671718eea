"""The peers of the transport: what the same machine does without it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from lab.bench import plain
from lab.bench.bench import Bench
from lab.bench.end import cpu_seconds
from lab.bench.row import GIGA, Row


def udp_trains(bench: Bench) -> Iterator[Row]:
    """UDP trains without any transport: what the kernel lets through."""
    with plain.udp(bench.address) as sock:
        bench.line.ask("udp_trains")
        before = cpu_seconds()
        plain.send_trains(sock, bench.other, bench.seconds)
        own = cpu_seconds() - before
    found = bench.line.receive()
    yield Row("udp-trains", "UDP trains, no transport", _bulk(found, own))


def udp_rounds(bench: Bench) -> Iterator[Row]:
    """Round trips of bare UDP datagrams."""
    with plain.udp(bench.address) as sock:
        bench.line.ask("udp_echo")
        sock.connect((bench.other, plain.PORT))
        times = plain.rounds(sock.send, plain.polled(sock), bench.seconds)
    bench.line.receive()
    yield Row("udp-rounds", "UDP round trip, 64 B", percentiles(times), "busy-polled")


def tcp(bench: Bench) -> Iterator[Row]:
    """A TCP connection: round trips, then bulk."""
    bench.line.ask("tcp")
    with socket.create_connection((bench.other, plain.PORT)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = plain.rounds(sock.send, plain.polled(sock), bench.seconds)
        sock.settimeout(None)
        before = cpu_seconds()
        plain.send_tcp(sock, bench.seconds)
        own = cpu_seconds() - before
        found = bench.line.receive()
    yield Row("tcp-bulk", "TCP bulk", _bulk(found, own))
    yield Row("tcp-rounds", "TCP round trip, 64 B", percentiles(times), "busy-polled")


def _bulk(found: dict[str, float], own_cpu: float) -> dict[str, float]:
    gigabytes = found["bytes"] / GIGA
    return {
        "gbit_s": 8 * gigabytes / found["seconds"],
        "cpu_s_per_gb": (own_cpu + found["cpu_s"]) / gigabytes,
    }


def percentiles(times: list[int]) -> dict[str, float]:
    """Median and 99th of nanoseconds, in microseconds."""
    ordered = sorted(times)
    middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return {"median_us": middle / 1000, "p99_us": late / 1000}
