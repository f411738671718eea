"""The entries into compiled code: send what is due, take what has come."""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors.memory import word
from lab.fast.inlet import receive, sort
from lab.fast.layout import MESSAGE, port_at, qp_at
from lab.fast.outlet import flush
from lab.fast.queues import busy, recall
from lab.fast.raw import clock_gettime, sched_yield
from lab.fast.requester import request
from lab.fast.responder import respond

BUDGET = 128
"""Packets of one queue pair before the next has its turn."""
BURSTS = 16
"""Receive calls before what they call for is sent."""
_CLOCK_MONOTONIC = 1
_SECOND = 1_000_000_000
_TIME = MESSAGE.itemsize
NOBODY = -1
NEWS, MORE, GOT = 1, 2, 4


@njit
def transmit(port: Any, replies: int) -> None:
    """Each busy queue pair's turn, once: requests, then (or not) `replies`."""
    for _ in range(port.busy_tail - port.busy_head):
        qp = qp_at(port.qps, word(port.busy + 8 * (port.busy_head & port.busy_mask)))
        port.busy_head += 1
        qp.busy = 0
        if qp.active:
            more = request(port, qp, BUDGET)
            if replies:
                more = respond(port, qp, BUDGET) or more
            elif qp.ack_due or qp.reply_head != qp.reply_tail:
                more = True
            if more:
                busy(port, qp)
    flush(port)


@njit
def _clock(port: Any) -> None:
    # A struct timespec, behind the outgoing message's record.
    time = port.message_out + _TIME
    clock_gettime(_CLOCK_MONOTONIC, time)
    port.now = word(time) * _SECOND + word(time + 8)


def drive(address: int, slot: int, tries: int) -> int:
    """Send what `slot` (or NOBODY) and the others have to send, then receive, trying `tries` times.

    Gives up receiving when something has come and nothing more waits, or work was completed. What
    comes in is answered before this returns, unless it completed work: then the caller is told
    first and the answer leaves with the next call. The result says whether there is something to
    attend to (NEWS: notifications, datagrams or queue pairs for the engine), whether anything came
    (GOT), and whether more may have than was taken (MORE).
    """
    port = port_at(address, 0)
    _clock(port)
    if slot != NOBODY:
        qp = qp_at(port.qps, slot)
        if qp.active:
            busy(port, qp)
    port.completions = 0
    # A request just posted goes ahead: its receiver does not wait for acknowledgements.
    transmit(port, tries)
    bursts = 0
    for _ in range(tries):
        length = receive(port)
        if length < 0:
            if bursts:
                break
            continue
        sort(port, length)
        bursts += 1
        if bursts >= BURSTS or port.completions:
            break
    if tries > 1 and bursts == 0:
        # Whoever is waited for may need this processor.
        sched_yield()
    if bursts and port.completions == 0:
        transmit(port, 1)
    result = NEWS if port.fired or port.slow_used or port.recalled_count else 0
    return result | (MORE if bursts >= BURSTS or port.completions else 0) | (GOT if bursts else 0)


def expire(address: int, now: int, _: int) -> int:
    """Recall the queue pairs whose deadline has come by `now`; the earliest deadline of the others,
    0 where none runs.
    """
    port = port_at(address, 0)
    earliest = 0
    for slot in range(port.qps_used):
        qp = qp_at(port.qps, slot)
        if qp.active and qp.deadline:
            if qp.deadline <= now:
                recall(port, qp)
            elif earliest == 0 or qp.deadline < earliest:
                earliest = qp.deadline
    return earliest


def simulate(address: int, length: int, _: int) -> int:
    """Without a socket: take the `length` bytes in the inbox, or (below 0) send what is due."""
    port = port_at(address, 0)
    if length < 0:
        transmit(port, 1)
    else:
        sort(port, length)
    return 0


ENTRIES = drive, expire, simulate
