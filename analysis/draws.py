"""Starting PSNs as they were drawn: the material that randomness is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import numpy as np

from analysis.context import Context
from analysis.conversations import SIDES, Connection
from analysis.negotiated import Announced, Convention, Negotiated
from analysis.pairing import Ints
from captures.files import read_whole

LIMIT = 1 << 24
MAX_TEXT = 1 << 28
"""Longest list believed, bytes."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One starting PSN and what is known of its drawing.

    `drawer` is the IP address of the host that chose it, `process` names what surely came out of
    one program together (one exchange of one host). `qpn` is the queue pair that the drawer chose
    it for, `time_ns` when it was first seen (UTC). None where unknown.
    """

    psn: int
    drawer: str | None = None
    process: str | None = None
    qpn: int | None = None
    time_ns: int | None = None
    frame: int | None = None
    file: str = ""

    @property
    def address(self) -> int | None:
        """The drawer's address as a number."""
        return None if self.drawer is None else _as_number(self.drawer)


@cache
def _as_number(address: str) -> int:
    return int(ip_address(address))


def psns(draws: Iterable[Draw]) -> Ints:
    """The PSNs of `draws`, in their order."""
    return np.array([draw.psn for draw in draws], np.int64)


def of_capture(context: Context) -> list[Draw]:
    """The starting PSNs of a capture in order of time: announced ones, and first requests' else.

    What a receiver-chooses exchange announced was drawn by the announcer for its own queue pair.
    A connection that began before the capture gives none.
    """
    earlier = context.sequences.earlier_messages(context.table)
    found = [
        draw
        for connection in context.conversations.connections
        for number, side in enumerate(SIDES)
        if (draw := _draw(context, connection, side, int(earlier[2 * connection.number + number])))
    ]
    return sorted(found, key=lambda draw: (draw.time_ns or 0, draw.frame or 0))


def _draw(context: Context, connection: Connection, side: str, earlier: int) -> Draw | None:
    """The PSN that the requests of end `side` start with."""
    told = [
        (said, one)
        for said in connection.negotiated
        for one in (said.a, said.b)
        if one.end == connection.end(side) and one.sq_psn is not None
    ]
    if told:
        return _announced(context, connection, side, *told[0])
    end = connection.end(side)
    at = int(context.sequences.first[2 * connection.number + SIDES.index(side)])
    if at < 0 or earlier:
        return None
    row = int(context.sequences.rows[at])
    return Draw(
        psn=int(context.table["bth_psn"][row]),
        drawer=end.ip,
        qpn=end.qpn,
        time_ns=int(context.table["time_ns"][row]),
        frame=context.frame(row),
        file=context.capture.file,
    )


def _announced(
    context: Context, connection: Connection, side: str, said: Negotiated, one: Announced
) -> Draw:
    other = SIDES[1 - SIDES.index(side)]
    swap = said.convention is Convention.RECEIVER_CHOOSES
    drawer = connection.end(other if swap else side)
    exchange = said.observer if said.stream is None else f"stream {said.stream}"
    return Draw(
        psn=one.sq_psn or 0,
        drawer=drawer.ip,
        process=f"{context.capture.file} {exchange} {drawer.ip}",
        qpn=drawer.qpn,
        time_ns=said.time_ns,
        frame=one.frame,
        file=context.capture.file,
    )


def of_values(path: Path) -> list[Draw]:
    """PSNs from a text file: one a line, in the order drawn, decimal or 0x; QPN and time (ns since
    1970) may follow.

    `#` begins a comment. Raises ValueError naming the line.
    """
    text = read_whole(path, MAX_TEXT).decode("ascii", "replace")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        values = [_number(word) for word in words]
        limits = zip(values, (LIMIT, LIMIT, 1 << 63), strict=False)
        if len(words) > 3 or any(value is None or value >= limit for value, limit in limits):
            raise ValueError(
                f"{path}: line {number}: expected PSN [QPN [nanoseconds since 1970]], PSN and QPN "
                f"of 24 bits (0 to 16777215, or 0x0 to 0xffffff), found {line.strip()[:60]!r}"
            )
        psn, qpn, time_ns = (*values, None, None)[:3]
        found.append(Draw(psn or 0, qpn=qpn, time_ns=time_ns, process=path.name, file=str(path)))
    return found


def _number(word: str) -> int | None:
    """A number as `0x` or decimal, None if it is neither."""
    try:
        return int(word, 16 if word[:2].lower() == "0x" else 10) if word[0] not in "+-" else None
    except ValueError:
        return None
