"""Which packets belong to one connection, and which of its two ends sent each.

A packet names its destination queue pair and both addresses, never the sending queue pair (but for
UD), so the two directions of a connection must be paired: by what was negotiated, by DETH, or by
which requests the responses answer (`analysis.pairing`). Everything is columns, so that a hundred
thousand connections cost no more than their packets. Addresses are taken as they stand on the wire:
a translator between the ends (NAT) hides which flows belong together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.negotiated import End, Negotiated
from analysis.pairing import Draft, Ints, Pair, dense, pair_by_responses
from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.icrc import ICRC_BAD
from dissectors.opcode import BY_VALUE
from dissectors.reth import RETH

SIDES = ("a", "b")
MANAGEMENT_QPS = 2
"""Queue pairs 0 and 1 carry management datagrams, not a connection's data."""

IS_REQUEST = np.array([bool(op is not None and op.is_request) for op in BY_VALUE])
IS_RESPONSE = np.array([bool(op is not None and op.is_response) for op in BY_VALUE])
TRANSPORTS = ("RC", "UC", "RD", "UD", "CNP", "XRC", "", "")
"""By the upper three bits of the opcode."""
RC, UC, RD, UD, _, XRC = range(6)


@dataclass(frozen=True, slots=True)
class Connection:
    """Two queue pairs that talk to each other.

    `transport` is RC, UC, RD, UD or XRC, empty where no packet was seen. `paired_by` is `exchange`
    (something told), `cm` (CM REQ and REP did), `deth`, `responses` (ACKs and READ responses answer
    these requests), `addresses` (no other candidate between the two hosts) or `none` (one direction
    alone was seen).
    """

    number: int
    transport: str
    a: End
    b: End
    paired_by: str
    negotiated: tuple[Negotiated, ...] = ()

    def end(self, sender: str) -> End:
        """End `a` or `b`."""
        return self.a if sender == "a" else self.b


@dataclass(frozen=True, slots=True)
class Conversations:
    """All connections of a capture, in the order of their first packets.

    `direction` has an element a table row: `2 * connection + side` (side 0: sent by a), -1 where a
    packet belongs to none. `order` holds the rows by direction, `start` where each begins.
    `unmatched` are statements about one end alone that no connection has.
    """

    connections: tuple[Connection, ...]
    direction: Ints
    order: Ints
    start: Ints
    unmatched: tuple[Negotiated, ...] = ()

    def rows(self, connection: int, sender: str) -> Ints:
        """Rows sent by end `sender`, in capture order."""
        at = 2 * connection + SIDES.index(sender)
        return self.order[self.start[at] : self.start[at + 1]]


def build(table: Any, statements: Sequence[Negotiated] = ()) -> Conversations:
    """Pair the queue pairs of `table` (a PacketTable), told by `statements` what was negotiated.

    Packets whose ICRC is wrong take no part: no receiver would have taken them.
    """
    opcode = table["bth_opcode"]
    used = table.has(BTH) & (IS_REQUEST[opcode] | IS_RESPONSE[opcode])
    used &= (table["icrc_status"] != ICRC_BAD) & (table["bth_dest_qp"] >= MANAGEMENT_QPS)
    draft = _draft(table, np.flatnonzero(used))
    groups = same_connection(said for said in statements if _tells_both(said))
    _pair_negotiated(draft, groups, table)
    _pair_datagrams(draft)
    pair_by_responses(draft, (RC, RD, XRC))
    pair_by_responses(draft, (UC,))
    partial = _by_end(said for said in statements if not _tells_both(said))
    return _assembled(draft, groups, partial, len(opcode))


def same_connection(statements: Iterable[Negotiated]) -> list[tuple[Negotiated, ...]]:
    """Statements that speak of one connection put together, connections in order of time.

    Two queue pairs may be connected again later: a voice speaks once of each connection, so its
    second statement begins the next.
    """
    by_ends: defaultdict[tuple[End, ...], list[list[Negotiated]]] = defaultdict(list)
    for said in sorted(statements, key=_when):
        groups = by_ends[tuple(sorted(said.ends))]
        if not groups or any(said.voice == other.voice for other in groups[-1]):
            groups.append([])
        groups[-1].append(said)
    return sorted(
        (tuple(g) for groups in by_ends.values() for g in groups), key=lambda g: _when(g[0])
    )


def _when(said: Negotiated) -> tuple[bool, int, int]:
    return said.time_ns is None, said.time_ns or 0, said.frame or 0


def _tells_both(said: Negotiated) -> bool:
    return all(end.ip is not None and end.qpn is not None for end in said.ends)


def _draft(table: Any, rows: Ints) -> Draft:
    """The packets `rows` sorted into flows."""
    source, target, where = _address_ids(table["src"][rows], table["dst"][rows])
    opcode = table["bth_opcode"][rows].astype(np.int64)
    transport = opcode >> 5
    queue_pair = table["bth_dest_qp"][rows].astype(np.int64)
    datagram = table.has(DETH)[rows] & (transport == UD)
    sender = np.where(datagram, table["deth_src_qp"][rows].astype(np.int64), -1)
    flow, first = dense(source, target, queue_pair, transport, sender)
    return Draft(
        rows=rows,
        flow=flow,
        psn=table["bth_psn"][rows].astype(np.int64),
        opcode=opcode,
        dma_len=np.where(table.has(RETH)[rows], table["reth_dma_len"][rows], 0).astype(np.int64),
        request=IS_REQUEST[opcode],
        source=source[first],
        target=target[first],
        queue_pair=queue_pair[first],
        sender=sender[first],
        transport=transport[first],
        addresses=[
            table.source(rows[at]) if at < len(rows) else table.destination(rows[at - len(rows)])
            for at in where.tolist()
        ],
        pair=np.full(len(rows), -1, np.int64),
        side=np.full(len(rows), -1, np.int64),
    )


def _address_ids(source: NDArray[Any], target: NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    """Addresses (V16) as small integers, and a place in source + target where each stands."""
    both = np.concatenate((np.ascontiguousarray(source), np.ascontiguousarray(target)))
    words = both.view(np.uint64).reshape(-1, 2).view(np.int64)
    ids, first = dense(words[:, 0], words[:, 1])
    return ids[: len(source)], ids[len(source) :], first


def _pair_negotiated(draft: Draft, groups: Sequence[tuple[Negotiated, ...]], table: Any) -> None:
    """Pair the flows that `groups` tell of; a later group of the same flow takes over in time."""
    if not groups:
        return
    begins = _begins(groups, table["frame"][draft.rows], table["time_ns"][draft.rows])
    flow, way = _flows_told(draft, groups)
    # Flows come in order, so what is written last is the first one of each way.
    chosen = np.full(2 * len(groups), -1, np.int64)
    chosen[way[::-1]] = flow[::-1]
    first_pair = len(draft.pairs)
    for number, (forward, backward) in enumerate(chosen.reshape(-1, 2).tolist()):
        group = groups[number]
        how = "cm" if all(said.source == "rdma-cm" for said in group) else "exchange"
        draft.add(Pair(forward, backward, how, number))
    if not len(flow):
        return
    told = np.stack((flow, begins[way // 2], first_pair + way // 2, way % 2), axis=1)
    told = told[np.lexsort(told.T[::-1])]
    # The earliest statement of a flow also takes what came before it: clocks differ a little.
    told[np.concatenate(([True], told[1:, 0] != told[:-1, 0])), 1] = 0
    count = len(draft.flow) + 1
    packets = draft.flow * count + np.arange(len(draft.flow))
    place = np.searchsorted(told[:, 0] * count + told[:, 1], packets, "right")
    taken = told[np.maximum(place - 1, 0)]
    mine = (place > 0) & (taken[:, 0] == draft.flow)
    draft.pair[mine], draft.side[mine] = taken[mine, 2], taken[mine, 3]


def _flows_told(draft: Draft, groups: Sequence[tuple[Negotiated, ...]]) -> tuple[Ints, Ints]:
    """The flows that `groups` tell of, and of each the way: 2 * group, + 1 from b to a."""
    ids = {address: number for number, address in enumerate(draft.addresses)}
    ends = [
        (ids.get(a.ip or "", -1), a.qpn, ids.get(b.ip or "", -1), b.qpn)
        for a, b in (group[0].ends for group in groups)
    ]
    there = np.array(ends, np.int64)
    # From a to b, and from b to a: sender's address and queue pair, then the receiver's.
    ways = np.stack((there, np.roll(there, 2, axis=1)), axis=1).reshape(-1, 4)
    width = len(ids) + 1
    key = (draft.source * width + draft.target) << 24 | draft.queue_pair
    wanted = (ways[:, 0] * width + ways[:, 2]) << 24 | ways[:, 3]
    wanted[(ways[:, 0] < 0) | (ways[:, 2] < 0)] = -1
    order = np.argsort(key, kind="stable")
    start = np.searchsorted(key[order], wanted)
    count = np.searchsorted(key[order], wanted, "right") - start
    way = np.repeat(np.arange(len(ways)), count)
    flow = order[np.arange(len(way)) - np.repeat(np.cumsum(count) - count - start, count)]
    # UD tells the sending queue pair, too.
    mine = (draft.sender[flow] < 0) | (draft.sender[flow] == ways[way, 1])
    return flow[mine], way[mine]


def _begins(groups: Sequence[tuple[Negotiated, ...]], frame: Any, time_ns: Any) -> Ints:
    """The first packet that can belong to what each of `groups` negotiated."""
    frames = [max((s.frame for s in g if s.frame is not None), default=-1) for g in groups]
    times = [min((s.time_ns for s in g if s.time_ns is not None), default=-1) for g in groups]
    by_frame = np.searchsorted(frame.astype(np.int64), np.array(frames, np.int64))
    by_time = np.searchsorted(time_ns, np.array(times, np.int64))
    begins: Ints = np.where(np.array(frames) >= 0, by_frame, by_time)
    return begins


def _pair_datagrams(draft: Draft) -> None:
    """UD packets name their sender's queue pair: pair the flows that mirror each other."""
    numbers = np.flatnonzero(draft.transport == UD).tolist()
    ends = {
        n: (
            (int(draft.source[n]), int(draft.sender[n])),
            (int(draft.target[n]), int(draft.queue_pair[n])),
        )
        for n in numbers
    }
    mirrored = {(target, source): n for n, (source, target) in ends.items()}
    way = np.full((len(draft.source), 2), -1, np.int64)
    for n in numbers:
        if way[n, 0] >= 0:
            continue
        back = mirrored.get(ends[n], -1)
        way[n] = draft.add(Pair(n, back, "deth")), 0
        if back not in (-1, n):
            way[back] = way[n, 0], 1
    free = (draft.pair < 0) & (draft.transport[draft.flow] == UD)
    draft.pair[free], draft.side[free] = way[draft.flow[free]].T


def _by_end(statements: Iterable[Negotiated]) -> dict[End, list[Negotiated]]:
    """Statements that know one end alone, by that end, in order of time."""
    known: defaultdict[End, list[Negotiated]] = defaultdict(list)
    for said in sorted(statements, key=_when):
        for end in said.ends:
            if end.ip is not None and end.qpn is not None:
                known[end].append(said)
    return dict(known)


def _assembled(
    draft: Draft,
    groups: Sequence[tuple[Negotiated, ...]],
    partial: dict[End, list[Negotiated]],
    table_length: int,
) -> Conversations:
    """Connections in the order of their first packets, and their rows."""
    count, packets = len(draft.pairs), len(draft.rows)
    first = np.full(count, packets, np.int64)
    np.minimum.at(first, draft.pair, np.arange(packets))
    # What an exchange told of is kept without a packet too; UD pairs it took over are not.
    kept = [n for n in range(count) if first[n] < packets or draft.pairs[n].group >= 0]
    kept.sort(key=lambda n: first[n])
    number = np.full(count, -1, np.int64)
    number[kept] = np.arange(len(kept))
    connections = []
    for at, pair in enumerate(draft.pairs[n] for n in kept):
        group = groups[pair.group] if pair.group >= 0 else ()
        a, b = group[0].ends if group else _ends(draft, pair)
        group += tuple(partial[end].pop(0) for end in (a, b) if partial.get(end))
        seen = pair.forward if pair.forward >= 0 else pair.backward
        transport = TRANSPORTS[draft.transport[seen]] if seen >= 0 else ""
        connections.append(Connection(at, transport, a, b, pair.paired_by, group))
    direction = np.full(table_length, -1, np.int64)
    direction[draft.rows] = 2 * number[draft.pair] + draft.side
    order = draft.rows[np.argsort(direction[draft.rows], kind="stable")]
    start = np.searchsorted(direction[order], np.arange(2 * len(kept) + 1))
    unmatched = tuple(said for left in partial.values() for said in left)
    return Conversations(tuple(connections), direction, order, start, unmatched)


def _ends(draft: Draft, pair: Pair) -> tuple[End, End]:
    """Both ends as the flows tell them; the QP of an end that nothing was sent to is unknown."""
    one, other = pair.forward, pair.backward
    flow = one if one >= 0 else other
    ips = draft.addresses[draft.source[flow]], draft.addresses[draft.target[flow]]
    a_ip, b_ip = ips if one >= 0 else ips[::-1]
    a_qp = int(draft.queue_pair[other]) if other >= 0 else int(draft.sender[one])
    b_qp = int(draft.queue_pair[one]) if one >= 0 else int(draft.sender[other])
    return End(a_ip, a_qp if a_qp >= 0 else None), End(b_ip, b_qp if b_qp >= 0 else None)
