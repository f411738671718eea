"""The RoCE packets of one connection: who sent each, as what, and whose sequence its PSN is of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.conversations import SIDES
from analysis.figures.ladder import Gap, Step
from analysis.figures.psn_time import KINDS, TROUBLE, Point, thin
from analysis.sequences import Sequences
from dissectors import opcode, psn
from dissectors.aeth import ACK, AETH, KIND_MASK, decode
from dissectors.atomicacketh import AtomicAckETH
from dissectors.opcode import BY_VALUE
from dissectors.table import PacketTable

Ints = NDArray[np.int64]

WINDOW = 2000
"""Packets that a ladder takes from the beginning of a connection, and from its end."""

REQUEST, AGAIN, RESPONSE, ACKNOWLEDGE, NAK = range(len(KINDS))
CARRIES = np.array(
    [op is not None and (op.has_payload or AtomicAckETH in op.headers) for op in BY_VALUE]
)
"""Opcodes of answers that bring data back."""
RESERVED = 0x80


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet. `owner` is the end whose sequence `psn` counts in: the sender's for a request.

    `kind` is request, sent again, response, ack or nak. `place` is the PSN counted from the owner's
    first request seen (so a wrap is no jump), `span` the PSNs a request takes.
    """

    row: int
    frame: int
    time_ns: int
    opcode: int
    psn: int
    payload: int
    syndrome: int
    sender: str
    owner: str
    kind: str
    place: int
    span: int

    @property
    def name(self) -> str:
        """The opcode in words."""
        return opcode.name(self.opcode)


@dataclass(frozen=True, slots=True)
class Sightings:
    """All packets of a connection in capture order, an element of each array a packet.

    `owner` and `sender` are 0 for end A and 1 for B, `kind` an index of KINDS, `syndrome` that of
    the AETH or -1.
    """

    table: PacketTable
    row: Ints
    owner: Ints
    sender: Ints
    kind: Ints
    place: Ints
    span: Ints
    syndrome: Ints

    def __len__(self) -> int:
        return len(self.row)

    def take(self, places: Iterable[int]) -> Iterator[Sighting]:
        """The packets at these places."""
        return map(self._at, places)

    def find(self, row: int) -> Sighting | None:
        """The packet of a table row, None where it is none of this connection."""
        at = int(self.row.searchsorted(row))
        return self._at(at) if at < len(self) and self.row[at] == row else None

    def bases(self) -> dict[str, int]:
        """End -> PSN that its places count from; ends without a packet are not there."""
        found = {}
        for number, side in enumerate(SIDES):
            mine = np.flatnonzero(self.owner == number)[:1]
            for seen in self.take(mine.tolist()):
                found[side] = int(psn.add(seen.psn, -seen.place))
        return found

    def _at(self, at: int) -> Sighting:
        row, table = int(self.row[at]), self.table
        return Sighting(
            row=row,
            frame=int(table["frame"][row]),
            time_ns=int(table["time_ns"][row]),
            opcode=int(table["bth_opcode"][row]),
            psn=int(table["bth_psn"][row]),
            payload=int(table["payload_length"][row]),
            syndrome=int(self.syndrome[at]),
            sender=SIDES[self.sender[at]],
            owner=SIDES[self.owner[at]],
            kind=KINDS[self.kind[at]],
            place=int(self.place[at]),
            span=int(self.span[at]),
        )


def sight(table: PacketTable, sequences: Sequences, connection: int) -> Sightings:
    """The packets of connection number `connection`."""
    directions = slice(2 * connection, 2 * connection + 3)
    asked = slice(*sequences.start[directions][[0, -1]].tolist())
    answered = slice(*sequences.answer_start[directions][[0, -1]].tolist())
    requests, answers = sequences.rows[asked], sequences.answers[answered]
    owner = np.concatenate((sequences.direction[asked], sequences.answer_direction[answered])) % 2
    is_answer = np.repeat([0, 1], [len(requests), len(answers)])
    codes = table["aeth_syndrome"][answers].astype(np.int64)
    syndrome = np.where(table.has(AETH)[answers], codes, -1)
    kind = np.concatenate(
        (
            np.where(sequences.repeat[asked], AGAIN, REQUEST),
            _kinds(table["bth_opcode"][answers], syndrome),
        )
    )
    row = np.concatenate((requests, answers)).astype(np.int64)
    order = np.argsort(row, kind="stable")
    columns = (
        row,
        owner,
        owner ^ is_answer,
        kind,
        np.concatenate((sequences.place[asked], sequences.answer_place[answered])),
        np.concatenate((sequences.span[asked], np.ones(len(answers), np.int64))),
        np.concatenate((np.full(len(requests), -1), syndrome)),
    )
    return Sightings(table, *(column[order] for column in columns))


def _kinds(opcodes: Ints, syndrome: Ints) -> Ints:
    """What kind of answer each is."""
    refuses = (syndrome >= 0) & (syndrome & KIND_MASK != ACK) & (syndrome & RESERVED == 0)
    brings = np.where(CARRIES[opcodes], RESPONSE, ACKNOWLEDGE)
    found: Ints = np.where(refuses, NAK, brings)
    return found


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a chart draws of a sequence: of how many packets, and whether all trouble is there."""

    points: list[Point]
    packets: int
    all_trouble: bool


def drawn(sightings: Sightings, owner: str) -> Drawn:
    """The sequence of end `owner`, thinned to what a chart holds."""
    mine = np.flatnonzero(sightings.owner == SIDES.index(owner))
    kept = mine[thin(sightings.kind[mine])]
    points = [
        Point(s.frame, s.time_ns, s.psn, s.place, s.kind, s.sender, s.name, s.span)
        for s in sightings.take(kept.tolist())
    ]
    trouble = TROUBLE[sightings.kind]
    return Drawn(points, len(mine), int(trouble[kept].sum()) == int(trouble[mine].sum()))


def rungs(sightings: Sightings, first: Mapping[str, tuple[int, str]]) -> Iterator[Step | Gap]:
    """Rungs of a ladder, the middle of a long connection counted in a gap.

    `first` names by sender the (frame, words) of the first requests.
    """
    count = len(sightings)
    head, tail = min(count, WINDOW), max(min(count, WINDOW), count - WINDOW)
    yield from (_step(seen, first) for seen in sightings.take(range(head)))
    if tail > head:
        again = int((sightings.kind[head:tail] == AGAIN).sum())
        frame = int(sightings.table["frame"][sightings.row[head]])
        yield Gap(tail - head, "frames in between", again, frame)
    yield from (_step(seen, first) for seen in sightings.take(range(tail, count)))


def _step(seen: Sighting, first: Mapping[str, tuple[int, str]]) -> Step:
    return Step(
        frame=seen.frame,
        time_ns=seen.time_ns,
        sender=seen.sender,
        kind="request" if seen.kind == "sent again" else seen.kind,
        label=seen.name,
        detail=_detail(seen),
        psn=seen.psn,
        owner=seen.owner,
        mark=_mark(seen, first),
        again=int(seen.kind == "sent again"),
    )


def _detail(seen: Sighting) -> str:
    if seen.kind == "nak":
        return decode(seen.syndrome).text
    if seen.span > 1:
        return f"takes {seen.span} PSNs"
    return f"{seen.payload} B" if seen.payload else ""


def _mark(seen: Sighting, first: Mapping[str, tuple[int, str]]) -> str:
    frame, words = first.get(seen.sender, (None, ""))
    if frame == seen.frame:
        return words
    return "sent again" if seen.kind == "sent again" else ""
