"""Pairing queue pairs that nobody told us about, from what answers what.

A *flow* is all packets from one address to one queue pair of another. Its requests are cut into
*pieces*, each a run of PSNs that continues itself: one life of the sending queue pair. A response
answers the latest request before it that has its PSN and went the other way; the flow that answers
most of a piece goes to the sender of that piece, and so tells its queue pair number.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dissectors import psn as serial
from dissectors.opcode import BY_VALUE

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

WINDOW = 1 << 16
"""A request further than this from where its predecessor ended starts another life of the QP."""
SMALLEST_MTU = 256

IS_ANCHOR = np.array(
    [bool(op is not None and op.is_response and op.starts_message) for op in BY_VALUE]
)
"""Responses that carry the PSN of the very request they answer."""


@dataclass(slots=True)
class Pair:
    """Two flows that are the two directions of one connection; -1 where one was not seen.

    `forward` is the flow sent by end a; `group` indexes the statements that told of it (-1: none).
    """

    forward: int
    backward: int
    paired_by: str
    group: int = -1


@dataclass(slots=True)
class Draft:
    """The packets being sorted, in capture order, and the pairs found so far.

    `rows` (of the packet table), `flow`, `psn`, `opcode`, `dma_len` and `request` have an element a
    packet; `source`, `target` (index `addresses`), `queue_pair`, `sender` (the sending queue pair
    where DETH names it, else -1) and `transport` an element a flow. `pair` and `side` (0 = a, 1 =
    b) say where each packet went, -1 while it went nowhere.
    """

    rows: Ints

    flow: Ints
    psn: Ints
    opcode: Ints
    dma_len: Ints
    request: Mask
    source: Ints
    target: Ints
    queue_pair: Ints
    sender: Ints
    transport: Ints
    addresses: list[str]
    pair: Ints
    side: Ints
    pairs: list[Pair] = field(default_factory=list)

    def add(self, pair: Pair) -> int:
        """Keep `pair`; its number."""
        self.pairs.append(pair)
        return len(self.pairs) - 1


@dataclass(frozen=True, slots=True)
class Pieces:
    """Requests `at` (packet) by flow and time, the `piece` of each; `flow`, `first` by piece."""

    at: Ints
    piece: Ints
    flow: Ints
    first: Ints


def dense(*columns: Ints) -> tuple[Ints, Ints]:
    """Each distinct tuple of `columns` as a small integer, and a place where each stands."""
    ids: Ints = np.zeros(len(columns[0]), np.int64)
    first: Ints = np.empty(0, np.int64)
    for column in columns:
        _, inner = np.unique(column, return_inverse=True)
        width = int(inner.max(initial=0)) + 1
        _, first, ids = np.unique(ids * width + inner, return_index=True, return_inverse=True)
    return ids, first


def pair_by_responses(draft: Draft, transports: tuple[int, ...]) -> None:
    """Pair the packets of `transports` that went nowhere yet."""
    free = (draft.pair < 0) & np.isin(draft.transport[draft.flow], transports)
    pieces = cut(draft, np.flatnonzero(free & draft.request))
    answers = np.flatnonzero(free & IS_ANCHOR[draft.opcode])
    answered = _answered(draft, pieces, answers)
    partner = _most_answers(draft, pieces, answers, answered)
    lonely = _only_candidates(draft, pieces, free, partner)
    life, side = _lives(draft, pieces, partner, lonely)
    draft.pair[pieces.at], draft.side[pieces.at] = life[pieces.piece], side[pieces.piece]
    sure = answered >= 0
    answers, answered = answers[sure], answered[sure]
    sure = partner[answered] == draft.flow[answers]
    draft.pair[answers[sure]] = life[answered[sure]]
    draft.side[answers[sure]] = 1 - side[answered[sure]]
    _follow_neighbours(draft, np.flatnonzero(free))


def cut(draft: Draft, requests: Ints) -> Pieces:
    """Cut `requests` into pieces at jumps of the PSN; a single stray packet is no piece."""
    at = requests[np.argsort(draft.flow[requests], kind="stable")]
    flow, psn = draft.flow[at], draft.psn[at]
    reach = 1 + draft.dma_len[at] // SMALLEST_MTU
    step = serial.difference(psn[1:], psn[:-1])
    new_flow = flow[1:] != flow[:-1]
    jump = ~new_flow & ((step < -WINDOW) | (step > WINDOW + reach[:-1]))
    begins = np.concatenate(([True], new_flow)) if len(at) else np.empty(0, bool)
    for place in np.flatnonzero(jump) + 1:
        # Only a jump that the following request does not take back.
        back = place + 1 < len(at) and flow[place + 1] == flow[place] and jump[place]
        returns = back and abs(int(serial.difference(psn[place + 1], psn[place - 1]))) <= WINDOW
        stray = jump[place - 2] if place >= 2 else False
        came_back = stray and abs(int(serial.difference(psn[place], psn[place - 2]))) <= WINDOW
        begins[place] |= not (returns or came_back)
    piece = np.cumsum(begins) - 1
    return Pieces(at, piece, flow[begins], at[begins])


def _answered(draft: Draft, pieces: Pieces, answers: Ints) -> Ints:
    """The piece each of `answers` answers, -1 where the request was not seen."""
    if not len(pieces.at) or not len(answers):
        return np.full(len(answers), -1, np.int64)
    asked, said = draft.flow[pieces.at], draft.flow[answers]
    key, _ = dense(
        np.concatenate((draft.source[asked], draft.target[said])),
        np.concatenate((draft.target[asked], draft.source[said])),
        np.concatenate((draft.psn[pieces.at], draft.psn[answers])),
    )
    count = len(draft.flow)
    asking = key[: len(asked)] * count + pieces.at
    by_key = np.argsort(asking)
    found = np.searchsorted(asking[by_key], key[len(asked) :] * count + answers) - 1
    place = by_key[np.maximum(found, 0)]
    same = (found >= 0) & (key[place] == key[len(asked) :])
    return np.where(same, pieces.piece[place], -1)


def _most_answers(draft: Draft, pieces: Pieces, answers: Ints, answered: Ints) -> Ints:
    """For each piece the flow that answers it most, -1 where none does or two do equally."""
    partner = np.full(len(pieces.flow), -1, np.int64)
    seen = answered >= 0
    if not seen.any():
        return partner
    piece, flow = answered[seen], draft.flow[answers][seen]
    vote, first = dense(piece, flow)
    votes = np.bincount(vote)
    piece, flow = piece[first], flow[first]
    order = np.lexsort((-votes, piece))
    piece, flow, votes = piece[order], flow[order], votes[order]
    top = np.concatenate(([True], piece[1:] != piece[:-1]))
    tied = np.zeros(len(top), bool)
    tied[:-1] = top[:-1] & ~top[1:] & (votes[:-1] == votes[1:])
    best = top & ~tied
    partner[piece[best]] = flow[best]
    return partner


def _only_candidates(draft: Draft, pieces: Pieces, free: Mask, partner: Ints) -> set[int]:
    """Give a piece without partner the one flow left between its hosts; the pieces so paired."""
    settled = set(partner[partner >= 0].tolist()) | set(pieces.flow[partner >= 0].tolist())
    left: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for flow in set(draft.flow[free].tolist()) - settled:
        left[draft.source[flow], draft.target[flow], draft.transport[flow]].append(flow)
    lonely = set()
    for piece in np.flatnonzero(partner < 0).tolist():
        flow = pieces.flow[piece]
        source, target, kind = draft.source[flow], draft.target[flow], draft.transport[flow]
        back = left.get((target, source, kind), [])
        if len(back) == 1 and left.get((source, target, kind)) == [flow]:
            partner[piece] = back[0]
            lonely.add(piece)
    return lonely


def _lives(draft: Draft, pieces: Pieces, partner: Ints, lonely: set[int]) -> tuple[Ints, Ints]:
    """A pair for each life of two queue pairs; pair and side of each piece.

    A life holds one piece of each direction, so a second piece of a direction begins the next.
    """
    life: list[int] = [0] * len(partner)
    side: list[int] = [0] * len(partner)
    current: dict[tuple[int, int], tuple[int, set[int]]] = {}
    order = np.argsort(pieces.first, kind="stable")
    ways = zip(order.tolist(), pieces.flow[order].tolist(), partner[order].tolist(), strict=True)
    for piece, forward, backward in ways:
        key = (forward, backward) if forward < backward else (backward, forward)
        number, directions = current.get(key, (-1, {forward}))
        if backward < 0 or forward in directions:
            how = "none" if backward < 0 else "addresses" if piece in lonely else "responses"
            number, directions = draft.add(Pair(forward, backward, how)), set()
            current[key] = number, directions
        directions.add(forward)
        life[piece] = number
        side[piece] = int(draft.pairs[number].forward != forward)
    return np.array(life, np.int64), np.array(side, np.int64)


def _follow_neighbours(draft: Draft, free: Ints) -> None:
    """Send what is left of a flow where the packet before it went, or else the one after it."""
    by_flow = free[np.argsort(draft.flow[free], kind="stable")]
    for order in (by_flow, by_flow[::-1]):
        known = np.maximum.accumulate(np.where(draft.pair[order] >= 0, np.arange(len(order)), -1))
        source = order[np.maximum(known, 0)]
        follows = (known >= 0) & (draft.flow[source] == draft.flow[order])
        to, of = order[follows], source[follows]
        draft.pair[to], draft.side[to] = draft.pair[of], draft.side[of]
    left = free[draft.pair[free] < 0]
    backward = {pair.backward: number for number, pair in enumerate(draft.pairs)}
    flows, which = np.unique(draft.flow[left], return_inverse=True)
    taken = [
        backward[flow] if flow in backward else draft.add(Pair(-1, flow, "none"))
        for flow in flows.tolist()
    ]
    draft.pair[left], draft.side[left] = np.array(taken, np.int64)[which], 1
