"""Acknowledgements and responses in order: what lab.engine.completer does while nothing goes wrong.

Each function says whether it dealt with the packet; if not, nothing was changed that the engine
would do differently, and it gets the packet and the queue pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dissectors import aeth
from lab.engine.memory import Access
from lab.engine.requester import COMPLETES_AS
from lab.engine.work import WCOpcode, WROpcode
from lab.fast.fields import add, forward
from lab.fast.layout import send_at
from lab.fast.queues import busy, full, push, wanted
from lab.fast.raw import memcpy
from lab.fast.requester import outstanding
from lab.fast.tables import reach

_READ = int(WROpcode.RDMA_READ)
_LOCAL_WRITE = int(Access.LOCAL_WRITE)
_NAKS = aeth.RNR_NAK
_SEND = int(WCOpcode.SEND)
_OPCODES = np.array([COMPLETES_AS[WROpcode(number)] for number in range(5)], np.int64)


@njit
def _distance(qp: Any, number: int) -> Any:
    """PSNs from the oldest unacknowledged one to `number`."""
    return forward(qp.unacked, number)


@njit
def _progress(port: Any, qp: Any, packets: int) -> None:
    """`packets` PSNs more are acknowledged."""
    qp.unacked = add(qp.unacked, packets)
    port.in_flight -= packets * qp.path_mtu
    qp.deadline = 0
    qp.progressed = 1
    if qp.timeout and qp.unacked != qp.high:
        qp.deadline = port.now + qp.timeout
    busy(port, qp)


@njit
def _finish(port: Any, qp: Any, row: Any) -> None:
    qp.sq_head += 1
    if _OPCODES[row.opcode] == _SEND:
        port.rdma_sends += 1
    if wanted(qp, row.flags):
        push(port, qp.send_cq, row.wr_id, _OPCODES[row.opcode], qp.number, row.length, 0, 0, 0, 0)


@njit
def _acknowledge(port: Any, qp: Any, count: int) -> Any:
    """Retire what the oldest `count` outstanding PSNs finish; False at a READ or a full CQ."""
    while count > 0:
        row = send_at(qp.sq, qp.sq_head & qp.sq_mask)
        if row.opcode == _READ or full(qp.send_cq):
            return False
        left = row.span - forward(row.first_psn, qp.unacked)
        if left > count:
            _progress(port, qp, count)
            return True
        _progress(port, qp, left)
        _finish(port, qp, row)
        count -= left
    return True


@njit
def take_ack(port: Any, qp: Any, number: int, syndrome: int) -> Any:
    """An ACKNOWLEDGE packet."""
    if syndrome >= _NAKS:
        return False
    distance = _distance(qp, number)
    if distance >= outstanding(qp):
        return distance >= _distance(qp, qp.high)
    return _acknowledge(port, qp, distance + 1)


@njit
def take_response(port: Any, qp: Any, number: int, ends: int, source: int, length: int) -> Any:
    """A READ RESPONSE packet of `length` bytes at `source`; it acknowledges what
    was before its READ.
    """
    distance = _distance(qp, number)
    if distance >= outstanding(qp):
        return distance >= _distance(qp, qp.high)
    if not _acknowledge(port, qp, distance) or full(qp.send_cq):
        return False
    row = send_at(qp.sq, qp.sq_head & qp.sq_mask)
    if row.opcode != _READ:
        return False
    offset = qp.received * qp.path_mtu
    complete = qp.received + 1 == row.span
    if length != min(qp.path_mtu, row.length - offset) or bool(ends) != complete:
        return False
    if length:
        target = reach(port, row.key, row.address, row.length, _LOCAL_WRITE, qp.domain)
        if target == 0:
            return False
        memcpy(target + offset, source, length)
    qp.received += 1
    if complete:
        qp.received = 0
        qp.reads -= 1
    _progress(port, qp, 1)
    if complete:
        _finish(port, qp, row)
    return True
