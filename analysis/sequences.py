"""The requests of every direction laid out along one line each: PSN wraps undone, spans known.

A request's *place* is its PSN as the signed distance from the first request seen in its direction,
so places compare and subtract as plain integers. A response's place is on the line of the requests
it answers, those of the opposite direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.conversations import IS_REQUEST, Conversations
from analysis.pairing import WINDOW, Ints, Mask
from dissectors import psn as serial
from dissectors.aeth import AETH, RNR_NAK
from dissectors.opcode import BY_VALUE, Opcode
from dissectors.reth import RETH

MTUS = np.array([256, 512, 1024, 2048, 4096])
FAR = 1 << 40
"""More than any two places of a direction lie apart: keeps directions apart in one sorted array."""

IS_FULL = np.array(
    [bool(op is not None and op.has_payload and not op.ends_message) for op in BY_VALUE]
)
"""Opcodes of packets that are as long as the path MTU."""
ENDS_MESSAGE = np.array(
    [bool(op is not None and op.is_request and op.ends_message) for op in BY_VALUE]
)
IS_READ_RESPONSE = np.array(
    [bool(op is not None and "READ_RESPONSE" in op.name) for op in BY_VALUE]
)
IS_READ = np.isin(
    np.arange(256),
    [Opcode.RC_RDMA_READ_REQUEST, Opcode.RD_RDMA_READ_REQUEST, Opcode.XRC_RDMA_READ_REQUEST],
)


@dataclass(frozen=True, slots=True)
class Sequences:
    """Requests, and the responses to them, by direction and in capture order.

    All but `start`, `first`, `path_mtu` and `answer_start` have an element a packet. `rows` are
    table rows; those of direction d are `rows[start[d]:start[d + 1]]`. `top` is the furthest place
    reached before the request; it is a repeat where `place < top`. `stray` requests lie far off the
    line and take no part in it. `first` is where in `rows` the lowest place of each direction
    stands (-1: no request). `path_mtu` has an element a connection, 0 where nothing tells it.
    `answers` (table rows) stand by the direction they answer; `answer_top` is the furthest place
    requested before the answer, -FAR if none was. `message_ends` are the last places of all
    messages, each plus its direction times 2 * FAR, sorted.
    """

    rows: Ints
    start: Ints
    direction: Ints
    place: Ints
    span: Ints
    top: Ints
    stray: Mask
    first: Ints
    path_mtu: Ints
    answers: Ints
    answer_start: Ints
    answer_direction: Ints
    answer_place: Ints
    answer_top: Ints
    message_ends: Ints

    @property
    def repeat(self) -> Mask:
        """Requests whose PSNs had all been sent before."""
        return ~self.stray & (self.place + self.span <= self.top)

    def requests(self, direction: int) -> slice:
        """Where the requests of `direction` stand."""
        return slice(int(self.start[direction]), int(self.start[direction + 1]))

    def completed(self, direction: Any, place: Any) -> Any:
        """How many messages seen in `direction` end at or before `place` (arrays or numbers)."""
        base = np.asarray(direction) * (2 * FAR)
        return np.searchsorted(self.message_ends, base + place, "right") - np.searchsorted(
            self.message_ends, base - FAR
        )

    def earlier_messages(self, table: Any) -> Ints:
        """By direction: messages completed before the capture, as the first ACK's MSN tells."""
        told = table.has(AETH)[self.answers] & (self.answer_top > -FAR) & (self.answer_place >= 0)
        told &= table["aeth_syndrome"][self.answers] < RNR_NAK
        at = np.flatnonzero(told)[::-1]
        first = np.full(len(self.first), -1, np.int64)
        first[self.answer_direction[at]] = at  # the earliest is written last
        known = np.flatnonzero(first >= 0)
        answer = first[known]
        ended = self.completed(known, self.answer_place[answer])
        ended += IS_READ_RESPONSE[table["bth_opcode"][self.answers[answer]]] & (
            ended < self.completed(known, self.answer_top[answer] - 1)
        )
        earlier = np.zeros(len(self.first), np.int64)
        msn = table["aeth_msn"][self.answers[answer]].astype(np.int64)
        earlier[known] = serial.forward(ended, msn)
        return earlier


def lay_out(table: Any, conversations: Conversations) -> Sequences:
    """Lay out all requests and responses of `conversations`."""
    count = 2 * len(conversations.connections)
    order = conversations.order
    direction = conversations.direction[order]
    is_request = IS_REQUEST[table["bth_opcode"][order]]
    rows, of = order[is_request], direction[is_request]
    start = np.searchsorted(of, np.arange(count + 1))
    psn = table["bth_psn"][rows].astype(np.int64)
    path_mtu = _path_mtus(table, conversations)
    place, stray = _places(psn, of)
    span = _spans(table, rows, of, psn, path_mtu)
    top = _tops(place + span, of, stray)
    answers, on = order[~is_request], direction[~is_request] ^ 1
    by_request = np.lexsort((answers, on))
    answers, on = answers[by_request], on[by_request]
    answer_psn = table["bth_psn"][answers].astype(np.int64)
    last = _last_before(of, rows, stray, on, answers)
    known = np.maximum(last, 0)
    answer_place = (
        place[known] + serial.difference(answer_psn, psn[known]) if len(rows) else answer_psn
    )
    answer_top = np.maximum(top, place + span)[known] if len(rows) else answer_psn
    answer_top = np.where(last >= 0, answer_top, -FAR)
    ends = ENDS_MESSAGE[table["bth_opcode"][rows]] & ~stray
    return Sequences(
        rows=rows,
        start=start,
        direction=of,
        place=place,
        span=span,
        top=top,
        stray=stray,
        first=_firsts(place, of, stray, count),
        path_mtu=path_mtu,
        answers=answers,
        answer_start=np.searchsorted(on, np.arange(count + 1)),
        answer_direction=on,
        answer_place=answer_place,
        answer_top=answer_top,
        message_ends=np.unique((of * (2 * FAR) + place + span - 1)[ends]),
    )


def _places(psn: Ints, of: Ints) -> tuple[Ints, Mask]:
    """Place of each request; which are strays: far from both neighbours, who are close."""
    step = serial.difference(psn[1:], psn[:-1])
    same = of[1:] == of[:-1]
    step = np.where(same, step, 0)
    total = np.concatenate(([0], np.cumsum(step)))[: len(psn)]
    begin = np.searchsorted(of, of)
    place = total - total[begin]
    far = same & (abs(step) > WINDOW)
    before = np.concatenate(([False], far))[: len(psn)]
    after = np.concatenate((far, [False]))[: len(psn)]
    across = np.zeros(len(psn), bool)
    across[1:-1] = abs(place[2:] - place[:-2]) <= WINDOW
    back = np.zeros(len(psn), bool)
    back[2:] = (of[2:] == of[:-2]) & (abs(place[2:] - place[:-2]) <= WINDOW)
    last = np.concatenate((~same, [True]))[: len(psn)]
    return place, before & ~back & ((after & across) | last)


def _path_mtus(table: Any, conversations: Conversations) -> Ints:
    """Path MTU by connection: as its full packets show, else as negotiated, else 0."""
    order = conversations.order
    full = order[IS_FULL[table["bth_opcode"][order]]]
    connection = conversations.direction[full] // 2
    longest = np.zeros(len(conversations.connections), np.int64)
    np.maximum.at(longest, connection, table["payload_length"][full].astype(np.int64))
    seen = np.where(longest > 0, MTUS[np.minimum(np.searchsorted(MTUS, longest), 4)], 0)
    told = np.zeros(len(longest), np.int64)
    for connection_ in conversations.connections:
        mtus = [end.path_mtu for said in connection_.negotiated for end in (said.a, said.b)]
        told[connection_.number] = min((mtu for mtu in mtus if mtu), default=0)
    return np.where(seen > 0, seen, told)


def _spans(table: Any, rows: Ints, of: Ints, psn: Ints, path_mtu: Ints) -> Ints:
    """PSNs each request takes: a READ as many as its response has packets, all others one."""
    span = np.ones(len(rows), np.int64)
    reads = np.flatnonzero(IS_READ[table["bth_opcode"][rows]] & table.has(RETH)[rows])
    length = table["reth_dma_len"][rows[reads]].astype(np.int64)
    mtu = path_mtu[of[reads] // 2]
    known = mtu > 0
    span[reads[known]] = serial.span(length[known], mtu[known])
    # Nothing tells the path MTU: the next request's PSN does, if some MTU leads to it.
    unsure = reads[~known]
    following = np.minimum(unsure + 1, len(rows) - 1)
    step = np.where(of[following] == of[unsure], serial.forward(psn[unsure], psn[following]), 1)
    possible = (serial.span(length[~known, None], MTUS) == step[:, None]).any(axis=1)
    span[unsure] = np.where(possible, step, 1)
    return span


def _tops(end: Ints, of: Ints, stray: Mask) -> Ints:
    """The furthest end before each request in its direction; -FAR where there is none."""
    reached = np.where(stray, -FAR // 2, end) + of * (2 * FAR)
    running = np.maximum.accumulate(reached)[:-1] if len(end) else reached
    top = np.full(len(end), -FAR, np.int64)
    same = of[1:] == of[:-1]
    top[1:][same] = (running - of[1:] * (2 * FAR))[same]
    return top


def _firsts(place: Ints, of: Ints, stray: Mask, count: int) -> Ints:
    first = np.full(count, -1, np.int64)
    usable = np.flatnonzero(~stray)
    order = usable[np.lexsort((usable, place[usable], of[usable]))]
    at = np.searchsorted(of[order], np.arange(count + 1))
    has = at[1:] > at[:-1]
    first[has] = order[at[:-1][has]]
    return first


def _last_before(of: Ints, rows: Ints, stray: Mask, on: Ints, answers: Ints) -> Ints:
    """For each answer the last request before it in the direction it answers, -1 if none."""
    width = max(int(rows.max(initial=0)), int(answers.max(initial=0))) + 1
    usable = np.flatnonzero(~stray)
    found = np.searchsorted(of[usable] * width + rows[usable], on * width + answers) - 1
    place = usable[np.maximum(found, 0)] if len(usable) else np.zeros(len(found), np.int64)
    return np.where((found >= 0) & (of[place] == on), place, -1) if len(usable) else found * 0 - 1
