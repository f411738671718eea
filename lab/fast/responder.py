"""Requests in sequence: what lab.engine.responder does while nothing goes wrong.

Each `take` function says whether it dealt with the packet; if not, nothing was changed, and the
engine gets the packet and the queue pair.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors import aeth
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.icrc import SIZE as ICRC_SIZE
from dissectors.immdt import ImmDt
from dissectors.memory import set_byte
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from lab.engine.memory import Access
from lab.engine.work import WCFlag, WCOpcode
from lab.fast.fields import add, completes, fits, getter, setter, span
from lab.fast.layout import receive_at, reply_at, ring_at
from lab.fast.opcodes import FIRST, LAST, MIDDLE, ONLY, RESPONSES, SEND, WRITE
from lab.fast.outlet import room, seal
from lab.fast.queues import busy, full, push, stick
from lab.fast.raw import memcpy
from lab.fast.requester import put_bth
from lab.fast.tables import reach

_BTH, _RETH, _AETH = BTH.size, RETH.size, AETH.size
get_se, get_ack_req = getter(BTH.se), getter(BTH.ack_req)
get_va, get_r_key, get_dma_len = getter(RETH.va), getter(RETH.r_key), getter(RETH.dma_len)
get_immediate = getter(ImmDt.data)
put_syndrome, put_msn = setter(AETH.syndrome), setter(AETH.msn)
_ACKNOWLEDGE = int(Opcode.RC_ACKNOWLEDGE)
_LOCAL_WRITE, _REMOTE_WRITE, _REMOTE_READ = (
    int(access) for access in (Access.LOCAL_WRITE, Access.REMOTE_WRITE, Access.REMOTE_READ)
)
_RECV, _RECV_IMM = int(WCOpcode.RECV), int(WCOpcode.RECV_RDMA_WITH_IMM)
_WITH_IMM = int(WCFlag.WITH_IMM)
_CREDITS = aeth.CREDITS_UNLIMITED


@njit
def _has_receive(ring: Any) -> Any:
    """A receive of at most one piece is posted, and no limit is armed that taking
    it could reach.
    """
    if ring.head == ring.tail or ring.limit:
        return False
    return receive_at(ring.rows, ring.head & ring.mask).pieces <= 1


@njit
def _advance(port: Any, qp: Any, ends: int, ack_req: int) -> None:
    qp.expected = add(qp.expected, 1)
    qp.gap = 0
    if ends:
        qp.msn = add(qp.msn, 1)
        qp.family = 0
    if ack_req:
        qp.ack_due = 1
        busy(port, qp)


@njit
def take_write(
    port: Any,
    qp: Any,
    packet: int,
    starts: int,
    ends: int,
    immediate: int,
    source: int,
    length: int,
) -> Any:
    """A WRITE packet with the expected PSN, its payload at `source`."""
    if not qp.access & _REMOTE_WRITE or not fits(starts, ends, length, qp.path_mtu):
        return False
    if qp.family != (0 if starts else WRITE):
        return False
    reth = packet + _BTH
    key, va, whole, done = qp.key, qp.va, qp.length, qp.done
    if starts:
        va, key, whole, done = get_va(reth), get_r_key(reth), get_dma_len(reth), 0
    if not completes(ends, done + length, whole):
        return False
    ring = ring_at(qp.rq, 0)
    delivers = ends and immediate
    if delivers and (not _has_receive(ring) or full(qp.receive_cq)):
        return False
    if whole:
        target = reach(port, key, va, whole, _REMOTE_WRITE, qp.domain)
        if target == 0:
            return False
        memcpy(target + done, source, length)
    qp.family, qp.key, qp.va, qp.length, qp.done = WRITE, key, va, whole, done + length
    if delivers:
        row = receive_at(ring.rows, ring.head & ring.mask)
        ring.head += 1
        value = get_immediate(reth + _RETH if starts else reth)
        _deliver(port, qp, row.wr_id, _RECV_IMM, whole, value, get_se(packet), 1)
    _advance(port, qp, ends, get_ack_req(packet))
    return True


@njit
def take_send(
    port: Any,
    qp: Any,
    packet: int,
    starts: int,
    ends: int,
    immediate: int,
    source: int,
    length: int,
) -> Any:
    """A SEND packet with the expected PSN, its payload at `source`."""
    if not fits(starts, ends, length, qp.path_mtu) or qp.family != (0 if starts else SEND):
        return False
    if ends and full(qp.receive_cq):
        return False
    ring = ring_at(qp.rq, 0)
    wr_id, va, key, whole, done = qp.wr_id, qp.va, qp.key, qp.length, qp.done
    if starts:
        if not _has_receive(ring):
            return False
        row = receive_at(ring.rows, ring.head & ring.mask)
        wr_id, va, key, whole, done = row.wr_id, row.address, row.key, row.length, 0
    if done + length > whole:
        return False
    if length:
        target = reach(port, key, va + done, length, _LOCAL_WRITE, qp.domain)
        if target == 0:
            return False
        memcpy(target, source, length)
    if starts:
        ring.head += 1
    qp.family, qp.wr_id, qp.va, qp.key, qp.length = SEND, wr_id, va, key, whole
    qp.done = done + length
    if ends:
        value = get_immediate(packet + _BTH) if immediate else 0
        _deliver(port, qp, wr_id, _RECV, qp.done, value, get_se(packet), immediate)
    _advance(port, qp, ends, get_ack_req(packet))
    return True


@njit
def _deliver(
    port: Any,
    qp: Any,
    wr_id: int,
    opcode: int,
    length: int,
    value: int,
    solicited: int,
    immediate: int,
) -> None:
    port.rdma_recvs += 1
    flags = _WITH_IMM if immediate else 0
    push(
        port,
        qp.receive_cq,
        wr_id,
        opcode,
        qp.number,
        length,
        value,
        flags,
        qp.dest_qp,
        solicited,
    )


@njit
def take_read(port: Any, qp: Any, packet: int, number: int) -> Any:
    """A READ REQUEST with the expected PSN."""
    waiting = qp.reply_tail - qp.reply_head
    if not qp.access & _REMOTE_READ or qp.family or waiting >= qp.max_replies:
        return False
    reth = packet + _BTH
    va, key, length = get_va(reth), get_r_key(reth), get_dma_len(reth)
    if length and reach(port, key, va, length, _REMOTE_READ, qp.domain) == 0:
        return False
    qp.expected = add(qp.expected, span(length, qp.path_mtu))
    qp.gap = 0
    qp.msn = add(qp.msn, 1)
    row = reply_at(qp.replies, qp.reply_tail & qp.reply_mask)
    row.first_psn, row.va, row.key, row.length, row.sent, row.msn = (
        number,
        va,
        key,
        length,
        0,
        qp.msn,
    )
    qp.reply_tail += 1
    # The data acknowledges what came before it.
    qp.ack_due = 0
    busy(port, qp)
    return True


@njit
def _put_aeth(packet: int, msn: int) -> None:
    put_syndrome(packet + _BTH, _CREDITS)
    put_msn(packet + _BTH, msn)


@njit
def respond(port: Any, qp: Any, budget: int) -> Any:
    """Send the replies owed, about `budget` packets at most; whether more are owed."""
    while qp.active and qp.reply_head != qp.reply_tail:
        if budget <= 0:
            return True
        row = reply_at(qp.replies, qp.reply_head & qp.reply_mask)
        budget -= _data(port, qp, row, budget)
    if qp.active and qp.ack_due:
        size = _BTH + _AETH + ICRC_SIZE
        packet = room(port, qp, size)
        put_bth(packet, _ACKNOWLEDGE, 0, 0, qp, 0, add(qp.expected, -1))
        _put_aeth(packet, qp.msn)
        seal(port, qp, size)
        qp.ack_due = 0
    return False


@njit
def _data(port: Any, qp: Any, row: Any, budget: int) -> Any:
    """Some of a READ's data; how many packets."""
    source = 0
    if row.length:
        source = reach(port, row.key, row.va, row.length, _REMOTE_READ, qp.domain)
        if source == 0:
            stick(port, qp)
            return 0
    path_mtu = qp.path_mtu
    whole = span(row.length, path_mtu)
    sent = 0
    while row.sent < whole and sent < budget:
        starts, ends = row.sent == 0, row.sent + 1 == whole
        place = (ONLY if starts else LAST) if ends else (FIRST if starts else MIDDLE)
        offset = row.sent * path_mtu
        length = min(path_mtu, row.length - offset)
        pad = -length & 3
        head = _BTH + (_AETH if starts or ends else 0)
        size = head + length + pad + ICRC_SIZE
        packet = room(port, qp, size)
        put_bth(packet, RESPONSES[place], pad, 0, qp, 0, add(row.first_psn, row.sent))
        if starts or ends:
            _put_aeth(packet, row.msn)
        memcpy(packet + head, source + offset, length)
        for k in range(pad):
            set_byte(packet + head + length + k, 0)
        seal(port, qp, size)
        row.sent += 1
        sent += 1
    if row.sent == whole:
        qp.reply_head += 1
    return sent
