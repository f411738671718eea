"""Completions, busy slots and the handing back of queue pairs, as compiled code sees them."""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors.memory import set_word
from lab.engine.work import SendFlag
from lab.fast.layout import done_at, ring_at

_SIGNALED = int(SendFlag.SIGNALED)


@njit
def busy(port: Any, qp: Any) -> None:
    """`qp` may have something to send."""
    if not qp.busy:
        qp.busy = 1
        set_word(port.busy + 8 * (port.busy_tail & port.busy_mask), qp.slot)
        port.busy_tail += 1


@njit
def recall(port: Any, qp: Any) -> None:
    """From here on the engine deals with `qp`."""
    if qp.active:
        qp.active = 0
        set_word(port.recalled + 8 * port.recalled_count, qp.slot)
        port.recalled_count += 1


@njit
def stick(port: Any, qp: Any) -> None:
    """As `recall`, for something to send that only the engine knows how to deal with."""
    qp.stuck = 1
    recall(port, qp)


@njit
def full(ring_address: int) -> Any:
    """Whether a completion queue has no room."""
    ring = ring_at(ring_address, 0)
    return ring.tail - ring.head >= ring.capacity


@njit
def push(
    port: Any,
    ring_address: int,
    wr_id: int,
    opcode: int,
    qpn: int,
    length: int,
    immediate: int,
    flags: int,
    source: int,
    solicited: int,
) -> None:
    """Complete with success; the queue has room."""
    ring = ring_at(ring_address, 0)
    done = done_at(ring.rows, ring.tail & ring.mask)
    done.wr_id = wr_id
    done.status = 0
    done.opcode = opcode
    done.qpn = qpn
    done.length = length
    done.immediate = immediate
    done.flags = flags
    done.source = source
    done.solicited = solicited
    ring.tail += 1
    port.completions += 1
    if ring.armed and (solicited or not ring.solicited_only):
        ring.armed = 0
        ring.fired = 1
        port.fired = 1


@njit
def wanted(qp: Any, flags: int) -> Any:
    """Whether a request that is done completes."""
    return qp.signal_all or flags & _SIGNALED
