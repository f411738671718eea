"""What the transport promises on a loopback, between two processes: the target's own code is not
needed, and nothing is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bench.bench import Bench, bench
from lab.bench.verbs import CHUNK, DEPTH, compare, transfer

COUNT = 400
TIMEOUT = 20
"""4.3 s: a busy machine that takes long has lost nothing."""


@pytest.fixture(params=[True, False], ids=["compiled", "engine"])
def ends(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(0.0, fast=request.param) as both:
        yield both


def peer() -> int:
    """The other process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    found = [
        pid for pid in children if b"lab.bench.peer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return int(found[-1])


def times_on_processor(pid: int) -> int:
    """How often the main thread of `pid` was given a processor (kernel: sched-stats.rst)."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[2])
    except FileNotFoundError:
        pytest.skip("this kernel does not count how often a thread is given a processor")


def move(ends: Bench, verb: str, peers: list[dict[str, object]]) -> None:
    """COUNT messages at least, of every connection as many."""
    end = ends.end
    opcode = getattr(end.verbs, f"IBV_WR_RDMA_{verb}")
    requests = [
        end.request(opcode, CHUNK, peers[number % len(peers)], number % DEPTH * CHUNK)
        for number in range(max(DEPTH, len(peers)))
    ]
    for _ in range(-(-COUNT // len(requests))):
        transfer(end, end.qps, requests, DEPTH, 0.0)


def test_the_target_sleeps(ends: Bench) -> None:
    """WRITEs and READs are done while its program waits for a line that does not come."""
    peers = ends.connect(1, 2 * DEPTH, 4096, TIMEOUT)
    end, length = ends.end, DEPTH * CHUNK
    end.fill("data", length)
    ends.line.ask("fill", kind="zeros", length=length)
    # Its answer has been read; when it waits again, it is no longer given a processor.
    pid = peer()
    while Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()
    before = times_on_processor(pid)
    move(ends, "WRITE", peers)
    written = end.digest(length)
    end.fill("zeros", length)
    move(ends, "READ", peers)
    assert times_on_processor(pid) == before
    assert end.digest(length) == written
    compare(ends, "WRITE and READ", length)


@pytest.mark.parametrize("connections", [1, 100])
def test_nothing_is_lost(ends: Bench, connections: int) -> None:
    """Each packet that one end sent came to the other, none of them twice."""
    counters = ends.end.ctx.adapter.device.counters
    before = dict(counters), ends.line.ask("state")["counters"]
    peers = ends.connect(connections, 2 * DEPTH, 4096, TIMEOUT)
    for verb in ("WRITE", "READ"):
        move(ends, verb, peers)
    after = ends.end.ctx.adapter.device.counters, ends.line.ask("state")["counters"]
    ours, theirs = ({k: b[k] - a[k] for k in b} for a, b in zip(before, after, strict=True))
    assert ours["sent_pkts"] == theirs["rcvd_pkts"] > 0
    assert theirs["sent_pkts"] == ours["rcvd_pkts"] > 0
    for name in ("out_of_seq_request", "duplicate_request", "completer_retry_err", "send_err"):
        assert (ours[name], theirs[name]) == (0, 0), name
