"""Requests to datagrams: what lab.engine.requester does while nothing goes wrong."""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors.bth import BTH
from dissectors.icrc import SIZE as ICRC_SIZE
from dissectors.immdt import ImmDt
from dissectors.memory import set_byte
from dissectors.reth import RETH
from lab.engine.memory import Access
from lab.engine.work import SendFlag, WROpcode
from lab.fast.fields import add, forward, must_ask, setter, span
from lab.fast.layout import send_at
from lab.fast.opcodes import FIRST, LAST, MIDDLE, ONLY, REQUESTS
from lab.fast.outlet import room, seal
from lab.fast.queues import stick
from lab.fast.raw import memcpy
from lab.fast.tables import reach

_BTH, _RETH, _IMM = BTH.size, RETH.size, ImmDt.size
_FENCE, _INLINE, _SOLICITED = (
    int(flag) for flag in (SendFlag.FENCE, SendFlag.INLINE, SendFlag.SOLICITED)
)
_READ = int(WROpcode.RDMA_READ)
_WRITES = (int(WROpcode.RDMA_WRITE), int(WROpcode.RDMA_WRITE_WITH_IMM))
_WRITE, _WRITE_IMM = _WRITES
_SEND_IMM = int(WROpcode.SEND_WITH_IMM)
_LOCAL_WRITE = int(Access.LOCAL_WRITE)

put_start = setter(BTH.opcode, BTH.se, BTH.pad_count)
put_p_key, put_dest_qp = setter(BTH.p_key), setter(BTH.reserved6, BTH.dest_qp)
put_psn = setter(BTH.ack_req, BTH.psn)
put_va, put_r_key, put_dma_len = setter(RETH.va), setter(RETH.r_key), setter(RETH.dma_len)
put_immediate = setter(ImmDt.data)


@njit
def put_bth(
    packet: int, opcode: int, pad: int, solicited: int, qp: Any, ack_req: int, number: int
) -> None:
    """Write a BTH (dissectors.bth) to `qp`'s peer."""
    put_start(packet, opcode, solicited, pad)
    put_p_key(packet, qp.p_key)
    put_dest_qp(packet, 0, qp.dest_qp)
    put_psn(packet, ack_req, number)


@njit
def _put_reth(packet: int, row: Any) -> None:
    put_va(packet + _BTH, row.remote)
    put_r_key(packet + _BTH, row.r_key)
    put_dma_len(packet + _BTH, row.length)


@njit
def outstanding(qp: Any) -> Any:
    """PSNs sent and not acknowledged."""
    return forward(qp.unacked, qp.next_psn)


@njit
def request(port: Any, qp: Any, budget: int) -> Any:
    """Send what may be sent, about `budget` packets at most; whether more could go out now."""
    while qp.active and qp.sq_cursor != qp.sq_tail:
        if outstanding(qp) >= qp.window:
            return False
        if budget <= 0 or port.in_flight >= port.in_flight_limit:
            return True
        row = send_at(qp.sq, qp.sq_cursor & qp.sq_mask)
        if row.opcode == _READ:
            if qp.reads >= qp.max_reads:
                return False
            budget -= _ask(port, qp, row)
        else:
            if qp.sent == 0 and row.flags & _FENCE and qp.reads:
                return False
            budget -= _carry(port, qp, row, budget)
    return False


@njit
def _started(port: Any, qp: Any, packets: int) -> None:
    """`packets` PSNs more are outstanding."""
    qp.next_psn = add(qp.next_psn, packets)
    if outstanding(qp) > forward(qp.unacked, qp.high):
        qp.high = qp.next_psn
    port.in_flight += packets * qp.path_mtu
    if qp.deadline == 0 and qp.timeout:
        qp.deadline = port.now + qp.timeout


@njit
def _ask(port: Any, qp: Any, row: Any) -> Any:
    if row.length and reach(port, row.key, row.address, row.length, _LOCAL_WRITE, qp.domain) == 0:
        stick(port, qp)
        return 0
    row.first_psn = qp.next_psn
    row.span = span(row.length, qp.path_mtu)
    size = _BTH + _RETH + ICRC_SIZE
    packet = room(port, qp, size)
    put_bth(packet, REQUESTS[_READ, ONLY], 0, 0, qp, 1, qp.next_psn)
    _put_reth(packet, row)
    seal(port, qp, size)
    _started(port, qp, row.span)
    qp.reads += 1
    qp.unasked = 0
    qp.sq_cursor += 1
    return 1


@njit
def _carry(port: Any, qp: Any, row: Any, budget: int) -> Any:
    """SEND or WRITE: as many packets as the window and `budget` let; how many went out."""
    source = row.address
    if row.length and not row.flags & _INLINE:
        source = reach(port, row.key, row.address, row.length, 0, qp.domain)
        if source == 0:
            stick(port, qp)
            return 0
    path_mtu = qp.path_mtu
    if qp.sent == 0:
        row.first_psn = qp.next_psn
        row.span = span(row.length, path_mtu)
    write = row.opcode in (_WRITE, _WRITE_IMM)
    immediate = row.opcode in (_WRITE_IMM, _SEND_IMM)
    sent = 0
    while qp.sent < row.span and sent < budget and outstanding(qp) < qp.window:
        starts, ends = qp.sent == 0, qp.sent + 1 == row.span
        place = (ONLY if starts else LAST) if ends else (FIRST if starts else MIDDLE)
        offset = qp.sent * path_mtu
        length = min(path_mtu, row.length - offset)
        pad = -length & 3
        head = _BTH + (_RETH if write and starts else 0)
        tail = head + (_IMM if immediate and ends else 0)
        size = tail + length + pad + ICRC_SIZE
        packet = room(port, qp, size)
        qp.unasked += 1
        full = port.in_flight + path_mtu >= port.in_flight_limit
        asks = full or must_ask(ends, qp.unasked, outstanding(qp) + 1, qp.window)
        if asks:
            qp.unasked = 0
        solicited = 1 if ends and row.opcode != _WRITE and row.flags & _SOLICITED else 0
        opcode = REQUESTS[row.opcode, place]
        put_bth(packet, opcode, pad, solicited, qp, 1 if asks else 0, qp.next_psn)
        if write and starts:
            _put_reth(packet, row)
        if immediate and ends:
            put_immediate(packet + head, row.immediate)
        memcpy(packet + tail, source + offset, length)
        for k in range(pad):
            set_byte(packet + tail + length + k, 0)
        seal(port, qp, size)
        qp.sent += 1
        sent += 1
        _started(port, qp, 1)
        if port.in_flight >= port.in_flight_limit:
            break
    if qp.sent == row.span:
        qp.sent = 0
        qp.sq_cursor += 1
    return sent
