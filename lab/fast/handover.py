"""A queue pair between the engine and the compiled code: its state given over, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dissectors import psn
from lab.engine.message import Message
from lab.engine.replies import ReadSource, Reply
from lab.engine.states import QPState, QPType
from lab.engine.timers import ack_timeout_ns
from lab.engine.work import ReceiveWork, SendWork, Sge, WROpcode
from lab.fast.opcodes import SEND, WRITE

if TYPE_CHECKING:
    from lab.engine.requester import Request
    from lab.fast.qp import FastQueuePair

FAMILIES = {"RC_SEND": SEND, "RC_RDMA_WRITE": WRITE}
_NAMES = {number: family for family, number in FAMILIES.items()}
SIMPLE = {
    WROpcode.SEND,
    WROpcode.SEND_WITH_IMM,
    WROpcode.RDMA_WRITE,
    WROpcode.RDMA_WRITE_WITH_IMM,
    WROpcode.RDMA_READ,
}


def simple(work: SendWork) -> bool:
    """Whether compiled code can carry it."""
    return work.opcode in SIMPLE and len(work.sges) <= 1


def ready(qp: FastQueuePair, now: int) -> bool:
    """Whether nothing is going on that only the engine knows how to go on with."""
    requester, responder = qp.requester, qp.responder
    message = responder.message
    return (
        qp.kind is QPType.RC
        and qp.state is QPState.RTS
        and requester.may_send(now)
        and qp.limiter is None
        and not qp.device.flow_control
        and responder.settled
        and qp.notifier.settled
        and all(simple(request.work) for request in requester.queue)
        and not any(_in_the_middle(request) for request in requester.queue)
        and (message is None or message.work is None or len(message.work.sges) <= 1)
    )


def _in_the_middle(request: Request) -> bool:
    """Whether a READ is asked for again from where its data broke off."""
    return request.answered and 0 < request.sent < request.span


def give(qp: FastQueuePair, record: Any, now: int) -> None:
    """Fill `record` with the state of a queue pair that is `ready`."""
    own = qp.attributes
    record["number"], record["dest_qp"], record["p_key"] = qp.number, own.dest_qp, own.p_key
    record["path_mtu"], record["access"] = own.path_mtu, int(own.access)
    record["domain"], record["window"], record["signal_all"] = qp.domain, qp.window, qp.signal_all
    record["timeout"] = ack_timeout_ns(own.timeout) or 0
    record["deadline"] = qp.completer.deadline or 0
    record["max_reads"] = own.max_rd_atomic
    _give_requests(qp, record)
    _give_responder(qp, record)


def _give_requests(qp: FastQueuePair, record: Any) -> None:
    requester = qp.requester
    record["next_psn"], record["unacked"] = requester.next_psn, requester.unacked
    record["high"], record["unasked"] = requester.high, requester.unasked
    record["sq_head"] = record["sq_cursor"] = record["sq_tail"] = 0
    record["sent"] = record["received"] = record["reads"] = 0
    for number, request in enumerate(requester.queue):
        qp.write_send(number, request.work, request.first_psn or 0, request.span)
        if request.first_psn is not None and request.sent == request.span:
            record["sq_cursor"] = number + 1
            record["reads"] += request.answered
        elif request.sent:
            record["sent"] = request.sent
        if number == 0:
            record["received"] = request.received
    record["sq_tail"] = len(requester.queue)


def _give_responder(qp: FastQueuePair, record: Any) -> None:
    responder = qp.responder
    record["expected"], record["msn"] = responder.expected, responder.msn
    record["gap"] = responder.nak_sent
    record["family"] = record["ack_due"] = record["reply_head"] = record["reply_tail"] = 0
    record["max_replies"] = qp.attributes.max_dest_rd_atomic
    message = responder.message
    if message is None:
        return
    record["family"], record["done"] = FAMILIES[message.family], message.done
    if message.work is None:
        record["key"], record["va"], record["length"] = message.r_key, message.va, message.length
    else:
        sge = message.work.sges[0] if message.work.sges else Sge(0, 0, 0)
        record["wr_id"] = message.work.wr_id
        record["key"], record["va"], record["length"] = sge.lkey, sge.address, sge.length


def take(qp: FastQueuePair, record: Any, replies: np.ndarray[Any, Any]) -> None:
    """Set the engine's state from `record`."""
    requester, completer = qp.requester, qp.completer
    requester.reset(int(record["unacked"]))
    requester.next_psn, requester.high = int(record["next_psn"]), int(record["high"])
    requester.unasked = int(record["unasked"])
    head, cursor = int(record["sq_head"]), int(record["sq_cursor"])
    for number in range(head, int(record["sq_tail"])):
        request = qp.read_send(number)
        if number < cursor:
            request.sent = request.span
        elif number == cursor and record["sent"]:
            request.sent = int(record["sent"])
        elif not request.span:
            request.first_psn = None
        requester.queue.append(request)
    if requester.queue:
        requester.queue[0].received = int(record["received"])
    if record["progressed"]:
        completer.reset()
    completer.deadline = int(record["deadline"]) or None
    _take_responder(qp, record, replies)


def _take_responder(qp: FastQueuePair, record: Any, replies: np.ndarray[Any, Any]) -> None:
    responder = qp.responder
    expected, msn = int(record["expected"]), int(record["msn"])
    responder.resume(expected, msn, nak_sent=bool(record["gap"]))
    responder.message = _message(record)
    for number in range(int(record["reply_head"]), int(record["reply_tail"])):
        row = replies[number & (len(replies) - 1)]
        source = ReadSource(int(row["key"]), int(row["va"]), int(row["length"]))
        reply = Reply(int(row["first_psn"]), int(row["msn"]), source=source, sent=int(row["sent"]))
        responder.replies.add(reply)
    if record["ack_due"]:
        responder.replies.add(Reply(int(psn.add(record["expected"], -1)), responder.msn))


def _message(record: Any) -> Message | None:
    family = _NAMES.get(int(record["family"]))
    if family is None:
        return None
    key, va, length = int(record["key"]), int(record["va"]), int(record["length"])
    done = int(record["done"])
    if family == "RC_SEND":
        sges = (Sge(va, length, key),) if length else ()
        return Message(family, done=done, work=ReceiveWork(int(record["wr_id"]), sges))
    return Message(family, key, va, length, done)
