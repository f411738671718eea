"""Doing what a checked request asks: memory, receives, completions, replies (IBTA vol. 1, 9.7.4.2,
9.4).
"""

from __future__ import annotations

from collections.abc import Callable
from sys import byteorder
from typing import TYPE_CHECKING

from dissectors import aeth, psn
from dissectors.atomiceth import AtomicETH
from dissectors.deth import DETH
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.reth import RETH
from lab.engine.checks import COMPARE_SWAP, FETCH_ADD, READ, Verdict
from lab.engine.decode import Run
from lab.engine.events import AsyncKind
from lab.engine.memory import Access, ProtectionError
from lab.engine.message import Message
from lab.engine.replies import ReadSource, Reply
from lab.engine.work import Completion, ReceiveWork, WCFlag, WCOpcode, WCStatus

if TYPE_CHECKING:
    from lab.engine.responder import Responder

_MASK_64 = (1 << 64) - 1


def send(responder: Responder, run: Run) -> Verdict | None:
    """Scatter into the receive taken at the message's start; complete it at the end."""
    qp = responder.qp
    if run.first.starts_message:
        responder.message = Message(run.family, work=qp.receives.take())
    message = responder.message
    assert message is not None
    assert message.work is not None
    room = sum(sge.length for sge in message.work.sges)
    if message.done + run.length > room:
        reason = f"a SEND of more than the {room} bytes of the receive"
        return Verdict(aeth.NAK_INVALID_REQUEST, reason, WCStatus.LOC_LEN_ERR, AsyncKind.QP_REQ_ERR)
    try:
        qp.device.memory.scatter(message.work.sges, message.done, run.chunks, qp.domain)
    except ProtectionError as error:
        return Verdict(
            aeth.NAK_REMOTE_OPERATIONAL_ERROR,
            str(error),
            WCStatus.LOC_PROT_ERR,
            AsyncKind.QP_FATAL,
        )
    message.done += run.length
    if run.last.ends_message:
        deliver(responder, run, message.work, WCOpcode.RECV, message.done)
    responder.advance(run, run.packet_count)
    return None


def write(responder: Responder, run: Run) -> Verdict | None:
    """Copy into the region; immediate data takes and completes a receive."""
    r_key, va, length, done = responder.write_place(run)
    target = responder.remote(r_key, va + done, run.length, Access.REMOTE_WRITE)
    offset = 0
    for chunk in run.chunks:
        target[offset : offset + len(chunk)] = chunk
        offset += len(chunk)
    responder.message = Message(run.family, r_key, va, length, done + run.length)
    if ImmDt in run.last.headers:
        work = responder.qp.receives.take()
        deliver(responder, run, work, WCOpcode.RECV_RDMA_WITH_IMM, length)
    responder.advance(run, run.packet_count)
    return None


def read(responder: Responder, run: Run) -> Verdict | None:
    """Owe the data; it takes as many PSNs as it has packets."""
    reth = run.header(RETH)
    source = ReadSource(reth.r_key, reth.va, reth.dma_len)
    responder.advance(run, int(psn.span(reth.dma_len, responder.qp.attributes.path_mtu)))
    responder.replies.add(Reply(run.first_psn, responder.msn, source=source))
    return None


def atomic(responder: Responder, run: Run) -> Verdict | None:
    """Read, modify and write 8 bytes of host order at once; remember the answer."""
    header = run.header(AtomicETH)
    target = responder.remote(header.r_key, header.va, 8, Access.REMOTE_ATOMIC)
    original = int.from_bytes(target, byteorder)
    if run.family == FETCH_ADD:
        result = (original + header.swap_add) & _MASK_64
    else:
        result = header.swap_add if original == header.compare else original
    target[:] = result.to_bytes(8, byteorder)
    responder.remember(run.first_psn, original)
    responder.advance(run, 1)
    responder.replies.add(Reply(run.first_psn, responder.msn, original=original))
    return None


def deliver(
    responder: Responder, run: Run, work: ReceiveWork, opcode: WCOpcode, length: int
) -> None:
    """Complete a receive with what the message's last packet says besides its payload."""
    qp = responder.qp
    flags, immediate = WCFlag.NONE, 0
    if ImmDt in run.last.headers:
        flags, immediate = WCFlag.WITH_IMM, run.header(ImmDt).data
    elif IETH in run.last.headers:
        flags, immediate = WCFlag.WITH_INV, run.header(IETH).r_key
        qp.device.memory.invalidate(immediate, qp.domain)
    datagram = DETH in run.last.headers
    qp.complete_receive(
        Completion(
            work.wr_id,
            WCStatus.SUCCESS,
            opcode,
            qp.number,
            byte_length=length,
            immediate=immediate,
            flags=flags | (WCFlag.GRH if datagram else WCFlag.NONE),
            source_qpn=run.header(DETH).src_qp if datagram else qp.attributes.dest_qp,
            solicited=run.solicited,
        )
    )


EXECUTE: dict[str, Callable[[Responder, Run], Verdict | None]] = {
    "RC_SEND": send,
    "UC_SEND": send,
    "RC_RDMA_WRITE": write,
    "UC_RDMA_WRITE": write,
    READ: read,
    COMPARE_SWAP: atomic,
    FETCH_ADD: atomic,
}
