"""The RoCE packets of one connection: who sent each, as what, and whose sequence its PSN is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.figures.ladder import Step
from analysis.figures.psn_time import Point
from dissectors import opcode, psn
from dissectors.aeth import AETH, decode
from dissectors.reth import RETH

OTHER = {"a": "b", "b": "a"}


@dataclass(frozen=True, slots=True)
class Sighting:
    """One packet. `owner` is the end whose sequence `psn` counts in: the sender's for a request.

    `kind` is request, sent again, response, ack or nak; `span` the PSNs a request takes.
    """

    row: int
    frame: int
    time_ns: int
    sender: str
    owner: str
    kind: str
    opcode: int
    psn: int
    span: int
    payload: int
    syndrome: int | None

    @property
    def name(self) -> str:
        return opcode.name(self.opcode)


def sight(table: Any, rows: Sequence[tuple[int, str]], path_mtu: int) -> list[Sighting]:
    """Sightings of `rows`, pairs of table row and sender (`a` or `b`) in capture order."""
    seen: list[Sighting] = []
    ahead: dict[str, int] = {}
    has_aeth, has_reth = table.has(AETH), table.has(RETH)
    for row, sender in rows:
        code = int(table["bth_opcode"][row])
        number = int(table["bth_psn"][row])
        member = opcode.BY_VALUE[code]
        request = member is not None and member.is_request
        syndrome = int(table["aeth_syndrome"][row]) if has_aeth[row] else None
        span = 1
        if request and has_reth[row] and member is opcode.Opcode.RC_RDMA_READ_REQUEST:
            span = psn.span(int(table["reth_dma_len"][row]), path_mtu)
        kind = "request" if request else _answer(syndrome, member)
        owner = sender if request else OTHER[sender]
        if request:
            expected = ahead.get(sender)
            if expected is not None and psn.difference(number, expected) < 0:
                kind = "sent again"
            end = psn.add(number, span)
            if expected is None or psn.difference(end, expected) > 0:
                ahead[sender] = end
        seen.append(
            Sighting(
                row,
                int(table["frame"][row]),
                int(table["time_ns"][row]),
                sender,
                owner,
                kind,
                code,
                number,
                span,
                int(table["payload_length"][row]),
                syndrome,
            )
        )
    return seen


def _answer(syndrome: int | None, member: Any) -> str:
    if syndrome is not None and decode(syndrome).kind in ("nak", "rnr"):
        return "nak"
    return "response" if member is not None and member.has_payload else "ack"


def points(sightings: Sequence[Sighting], owner: str, base: int) -> list[Point]:
    """The sequence of end `owner`, each PSN as its signed distance from `base`, wraps undone."""
    mine = [seen for seen in sightings if seen.owner == owner]
    numbers = np.array([psn.difference(seen.psn, base) for seen in mine], dtype=np.int64)
    if len(numbers):
        onward = psn.difference(numbers[1:], numbers[:-1])
        numbers = numbers[0] + np.concatenate(([0], np.cumsum(onward)))
    return [
        Point(
            seen.frame,
            seen.time_ns,
            seen.psn,
            int(number),
            seen.kind,
            seen.sender,
            seen.name,
            seen.span,
        )
        for seen, number in zip(mine, numbers, strict=True)
    ]


def steps(sightings: Sequence[Sighting], first: dict[str, tuple[int, str]]) -> list[Step]:
    """Rungs of a ladder; `first` names by sender the (frame, words) of the first requests."""
    return [
        Step(
            seen.frame,
            seen.time_ns,
            seen.sender,
            "request" if seen.kind == "sent again" else seen.kind,
            seen.name.removeprefix("RC_"),
            _detail(seen),
            seen.psn,
            seen.owner,
            _mark(seen, first),
        )
        for seen in sightings
    ]


def _detail(seen: Sighting) -> str:
    if seen.kind == "nak" and seen.syndrome is not None:
        return decode(seen.syndrome).text
    if seen.span > 1:
        return f"takes {seen.span} PSNs"
    return f"{seen.payload} B" if seen.payload else ""


def _mark(seen: Sighting, first: dict[str, tuple[int, str]]) -> str:
    frame, words = first.get(seen.sender, (None, ""))
    if frame == seen.frame:
        return words
    return "sent again" if seen.kind == "sent again" else ""
