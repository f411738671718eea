"""RC connections in their steady state: WRITE, READ and SEND in bulk, small and many."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from lab.bench.bench import Bench, Measurement
from lab.bench.end import End, cpu_seconds, resident_bytes
from lab.bench.errors import BenchError
from lab.bench.raw import percentiles
from lab.bench.row import GIGA, Row

DEPTH = 16
SMALL, SMALL_DEPTH = 64, 64
CHUNK = 1 << 16
_WARM = 0.2
"""Part of the time that is spent before measuring."""


def one_sided(verb: str, length: int, path_mtu: int) -> Measurement:
    """WRITE or READ over one connection, DEPTH requests outstanding, each of a place of its own;
    the bytes of both ends are compared afterwards.
    """
    return partial(_one_sided, verb=verb, length=length, path_mtu=path_mtu)


def _one_sided(bench: Bench, *, verb: str, length: int, path_mtu: int) -> Iterator[Row]:
    (peer,) = bench.connect(1, 2 * DEPTH, path_mtu)
    end = bench.end
    opcode = getattr(end.verbs, f"IBV_WR_RDMA_{verb}")
    places = min(DEPTH, end.mr.length // length)
    requests = [end.request(opcode, length, peer, place * length) for place in range(places)]
    mine, theirs = ("data", "zeros") if verb == "WRITE" else ("zeros", "data")
    end.fill(mine, places * length)
    bench.line.ask("fill", kind=theirs, length=places * length)
    run = partial(transfer, end, end.qps, requests, places)
    figures = bulk(run, length, bench.seconds, bench.cpu_seconds)
    compare(bench, verb, places * length)
    size = f"{length >> 20}MiB" if length >= 1 << 20 else f"{length >> 10}KiB"
    title = f"RC {verb} {size[:-3]} {size[-3:]}, path MTU {path_mtu}"
    note = f"{places} outstanding, data compared"
    yield Row(f"{verb.lower()}-{size.lower()}-{path_mtu}", title, figures, note)


def send(bench: Bench) -> Iterator[Row]:
    """SENDs into posted receives, each of a place of its own."""
    bench.connect(1, 4 * DEPTH, 4096)
    end, length = bench.end, CHUNK
    verb = end.verbs.IBV_WR_SEND
    requests = [end.request(verb, length, None, place * length) for place in range(DEPTH)]
    end.fill("data", DEPTH * length)
    bench.line.ask("fill", kind="zeros", length=DEPTH * length)
    bench.line.ask("sink", length=length, places=DEPTH, depth=4 * DEPTH)
    run = partial(transfer, end, end.qps, requests, DEPTH)
    figures = bulk(run, length, bench.seconds, cpu_seconds)
    end.post_last()
    theirs = bench.line.receive()
    figures["cpu_s_per_gb"] += theirs["cpu_s"] * GIGA / theirs["bytes"]
    compare(bench, "SEND", DEPTH * length)
    yield Row("send-64kib-4096", "RC SEND 64 KiB, path MTU 4096", figures, "data compared")


def compare(bench: Bench, verb: str, length: int) -> None:
    """Raise BenchError unless the first `length` bytes of both ends' memory are the same."""
    if bench.end.digest(length) != bench.line.ask("digest", length=length)["digest"]:
        raise BenchError(f"expected the same bytes at both ends after {verb}, found others")


def bulk(
    run: Callable[[float], tuple[int, float]],
    length: int,
    seconds: float,
    cpu: Callable[[], float],
) -> dict[str, float]:
    """Figures of `run(seconds)`, which says how many messages of `length` bytes it moved, and in
    how many seconds; `cpu` says how much has been used so far.
    """
    run(seconds * _WARM)
    before = cpu()
    count, elapsed = run(seconds)
    gigabytes = count * length / GIGA
    return {"gbit_s": 8 * gigabytes / elapsed, "cpu_s_per_gb": (cpu() - before) / gigabytes}


def transfer(
    end: End, qps: list[Any], requests: list[Any], most: int, seconds: float
) -> tuple[int, float]:
    """Post `requests` in turn, to `qps` in turn, `most` at a time, for `seconds` and until each
    had as many turns (one at least), and wait for them: how many there were, and the seconds until
    all were done.
    """
    posts = [qp.post_send for qp in qps]
    start = time.monotonic()
    posted = done = 0
    last = sys.maxsize
    while done < last:
        while posted < last and posted - done < most:
            posts[posted % len(posts)](requests[posted % len(requests)])
            posted += 1
        done += len(end.poll())
        if last == sys.maxsize and time.monotonic() - start >= seconds:
            last = -(-posted // len(requests)) * len(requests)
    return posted, time.monotonic() - start


def round_trips(bench: Bench) -> Iterator[Row]:
    """SEND there and back, both ends polling."""
    bench.connect(1, 4 * DEPTH, 4096)
    end = bench.end
    qp, receive = end.qps[0], end.receive(SMALL)
    for _ in range(DEPTH):
        qp.post_recv(receive)
    request = end.request(end.verbs.IBV_WR_SEND, SMALL, None, flags=0)
    bench.line.ask("echo", length=SMALL)
    times = []
    finish = time.perf_counter_ns() + int(bench.seconds * GIGA)
    while (start := time.perf_counter_ns()) < finish:
        qp.post_send(request)
        # What is sent is not signalled: the completion is the answer's.
        while not end.poll():
            pass
        times.append(time.perf_counter_ns() - start)
        qp.post_recv(receive)
    end.post_last()
    bench.line.receive()
    yield Row("send-rounds", "RC SEND round trip, 64 B", percentiles(times), "busy-polled")


def message_rate(bench: Bench) -> Iterator[Row]:
    """Small WRITEs, many outstanding."""
    (peer,) = bench.connect(1, 2 * SMALL_DEPTH, 4096)
    end = bench.end
    request = end.request(end.verbs.IBV_WR_RDMA_WRITE, SMALL, peer)
    run = partial(transfer, end, end.qps, [request], SMALL_DEPTH)
    run(bench.seconds * _WARM)
    count, elapsed = run(bench.seconds)
    figures = {"messages_s": count / elapsed}
    yield Row("write-64b", "RC WRITE 64 B", figures, f"{SMALL_DEPTH} outstanding")


def many(count: int) -> Measurement:
    """`count` connections, all of them active: their aggregate, and what one takes of memory."""
    return partial(_many, count=count)


def _many(bench: Bench, *, count: int) -> Iterator[Row]:
    end = bench.end
    end.close_queue_pairs()
    before = resident_bytes() + bench.line.ask("open", count=0, depth=1)["resident"]
    peers = bench.connect(count, 8, 4096)
    write = end.verbs.IBV_WR_RDMA_WRITE
    requests = [end.request(write, CHUNK, peer) for peer in peers]
    run = partial(transfer, end, end.qps, requests, count)
    figures = bulk(run, CHUNK, bench.seconds, bench.cpu_seconds)
    after = resident_bytes() + bench.line.ask("state")["resident"]
    figures["kib_per_connection"] = (after - before) / 2 / count / 1024
    title = f"RC WRITE 64 KiB over {count:,} connections"
    yield Row(f"write-{count}", title, figures, "all active; memory at one end")
    end.close_queue_pairs()
