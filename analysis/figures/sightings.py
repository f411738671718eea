"""The RoCE packets of one connection: who sent each, as what, and whose sequence its PSN is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.conversations import SIDES
from analysis.figures.ladder import Step
from analysis.figures.psn_time import Point
from analysis.sequences import Sequences
from dissectors import opcode, psn
from dissectors.aeth import AETH, decode
from dissectors.atomicacketh import AtomicAckETH
from dissectors.table import PacketTable

OTHER = {"a": "b", "b": "a"}
LIMIT = 20_000
"""Packets taken of each direction's requests and of its answers."""
COLUMNS = {
    "frame": "frame",
    "time_ns": "time_ns",
    "opcode": "bth_opcode",
    "psn": "bth_psn",
    "payload": "payload_length",
}
"""What a sighting takes from the packet table as it is: its name here -> there."""


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
    sender: str
    owner: str
    kind: str
    place: int
    span: int = 1
    syndrome: int | None = None

    @property
    def name(self) -> str:
        """The opcode in words."""
        return opcode.name(self.opcode)

    @property
    def base(self) -> int:
        """The PSN that `place` counts from."""
        return int(psn.add(self.psn, -self.place))


def sight(table: PacketTable, sequences: Sequences, connection: int) -> list[Sighting]:
    """The packets of connection number `connection`, in capture order."""
    found: list[Sighting] = []
    for number, owner in enumerate(SIDES):
        direction = 2 * connection + number
        found += _requests(table, sequences, direction, owner)
        found += _answers(table, sequences, direction, owner)
    return sorted(found, key=lambda seen: seen.row)


def _requests(
    table: PacketTable, sequences: Sequences, direction: int, owner: str
) -> Iterator[Sighting]:
    start, stop = sequences.start[direction : direction + 2].tolist()
    repeat = sequences.repeat
    for at in range(start, min(stop, start + LIMIT)):
        yield Sighting(
            **_columns(table, int(sequences.rows[at])),
            sender=owner,
            owner=owner,
            kind="sent again" if repeat[at] else "request",
            place=int(sequences.place[at]),
            span=int(sequences.span[at]),
        )


def _answers(
    table: PacketTable, sequences: Sequences, direction: int, owner: str
) -> Iterator[Sighting]:
    start, stop = sequences.answer_start[direction : direction + 2].tolist()
    has_aeth = table.has(AETH)
    for at in range(start, min(stop, start + LIMIT)):
        row = int(sequences.answers[at])
        syndrome = int(table["aeth_syndrome"][row]) if has_aeth[row] else None
        yield Sighting(
            **_columns(table, row),
            sender=OTHER[owner],
            owner=owner,
            kind=_answer(int(table["bth_opcode"][row]), syndrome),
            place=int(sequences.answer_place[at]),
            syndrome=syndrome,
        )


def _columns(table: PacketTable, row: int) -> dict[str, int]:
    return {"row": row, **{name: int(table[column][row]) for name, column in COLUMNS.items()}}


def _answer(code: int, syndrome: int | None) -> str:
    if syndrome is not None and decode(syndrome).kind in ("nak", "rnr"):
        return "nak"
    member = opcode.BY_VALUE[code]
    if member is None:
        return "ack"
    return "response" if member.has_payload or AtomicAckETH in member.headers else "ack"


def points(sightings: Sequence[Sighting], owner: str) -> list[Point]:
    """The sequence of end `owner`."""
    return [
        Point(s.frame, s.time_ns, s.psn, s.place, s.kind, s.sender, s.name, s.span)
        for s in sightings
        if s.owner == owner
    ]


def bases(sightings: Sequence[Sighting]) -> dict[str, int]:
    """End -> PSN that its places count from; ends without a packet are not there."""
    return {seen.owner: seen.base for seen in reversed(sightings)}


def steps(sightings: Sequence[Sighting], first: Mapping[str, tuple[int, str]]) -> Iterator[Step]:
    """Rungs of a ladder; `first` names by sender the (frame, words) of the first requests."""
    for seen in sightings:
        yield Step(
            frame=seen.frame,
            time_ns=seen.time_ns,
            sender=seen.sender,
            kind="request" if seen.kind == "sent again" else seen.kind,
            label=seen.name,
            detail=_detail(seen),
            psn=seen.psn,
            owner=seen.owner,
            mark=_mark(seen, first),
        )


def _detail(seen: Sighting) -> str:
    if seen.kind == "nak" and seen.syndrome is not None:
        return decode(seen.syndrome).text
    if seen.span > 1:
        return f"takes {seen.span} PSNs"
    return f"{seen.payload} B" if seen.payload else ""


def _mark(seen: Sighting, first: Mapping[str, tuple[int, str]]) -> str:
    frame, words = first.get(seen.sender, (None, ""))
    if frame == seen.frame:
        return words
    return "sent again" if seen.kind == "sent again" else ""
