"""Numbers that were to be secret, looked for in bytes in clear; and whether chance put them there.

Any three bytes turn up in enough data: a 24-bit number that nobody leaked stands in each window of
three bytes with probability 2^-24. A search through w windows for n such numbers finds n * w / 2^24
of them on average, and that is what a find has to be weighed against. What stands beside it may
tell a leak from chance: the queue pair's number in the same notation, the word "psn", a zero byte
that makes it a 32-bit number. How often those stand in the bytes at all says how often they would
stand beside it by chance. Several places are no more evidence than one: structured data repeats
itself.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

VALUES = 1 << 24
SPECIAL = 1 << 16
"""Numbers below this look like any small number: they are searched as text only."""
NEAR = 32
"""Bytes on either side in which context is looked for."""
WEIGHED = 50
"""Finds whose context is looked at, of one number and numbers of one form."""
POINTLESS = 1.0
"""Finds by chance from which on RDMA payload is not searched for bytes."""


class Secret(NamedTuple):
    """A PSN that was announced: whose it is, and the frame from which on it is no secret."""

    psn: int
    qpn: int | None
    connection: int
    side: str
    used: int


class Piece(NamedTuple):
    """Some bytes in clear, the frame that carried them, and whether they are RDMA payload."""

    frame: int
    data: bytes
    rdma: bool = False


class Leak(NamedTuple):
    """A secret found in clear, how it is written, and where.

    `expected` is how many of the secrets chance puts into the bytes that were searched so, `chance`
    the probability that it put one there with what stands `beside` it.
    """

    secret: Secret
    form: str
    frames: tuple[int, ...]
    expected: float
    chance: float
    beside: tuple[str, ...]


class Hit(NamedTuple):
    """A number found at `data[start:end]` of a piece."""

    value: int
    piece: Piece
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Digits:
    """Numbers as text: a pattern whose group 1 is the number, its base, how one is written."""

    name: str
    pattern: re.Pattern[bytes]
    base: int
    spelling: str

    def search(self, piece: Piece, wanted: NDArray[np.bool_]) -> tuple[int, list[Hit]]:
        """How many numbers stand in `piece`, and those that are `wanted` (a mask by value)."""
        count, hits = 0, []
        for match in self.pattern.finditer(piece.data):
            count += 1
            if (value := int(match[1], self.base)) < VALUES and wanted[value]:
                hits.append(Hit(value, piece, *match.span(1)))
        return count, hits

    def beside(self, hit: Hit, qpn: int | None) -> list[tuple[str, bytes, bytes]]:
        """Context that may stand near `hit`: what it is, its bytes, where to look."""
        data = hit.piece.data
        before, after = data[max(0, hit.start - NEAR) : hit.start], data[hit.end : hit.end + NEAR]
        around = (before + b"\0" + after).lower()
        said = [('the word "psn"', b"psn", around)]
        if qpn is not None:
            written = self.spelling.format(qpn).encode()
            said.append((f"its queue pair number ({written.decode()})", written, around))
        return said


@dataclass(frozen=True, slots=True)
class Octets:
    """Numbers as three bytes in a row, most significant first (big) or last (little)."""

    name: str
    order: Literal["big", "little"]

    def search(self, piece: Piece, wanted: NDArray[np.bool_]) -> tuple[int, list[Hit]]:
        """How many windows `piece` has, and those that hold a `wanted` number above SPECIAL."""
        octets = np.frombuffer(piece.data, np.uint8).astype(np.int64)
        if len(octets) < 3:
            return 0, []
        one, two, three = octets[:-2], octets[1:-1], octets[2:]
        high, low = (one, three) if self.order == "big" else (three, one)
        values = high << 16 | two << 8 | low
        at = np.flatnonzero(wanted[values] & (values >= SPECIAL)).tolist()
        return len(values), [Hit(int(values[n]), piece, n, n + 3) for n in at]

    def beside(self, hit: Hit, qpn: int | None) -> list[tuple[str, bytes, bytes]]:
        """Context that may stand near `hit`: what it is, its bytes, where to look."""
        data = hit.piece.data
        before, after = data[max(0, hit.start - NEAR) : hit.start], data[hit.end : hit.end + NEAR]
        top = before[-1:] if self.order == "big" else after[:1]
        said = [("a zero byte (32 bits)", b"\0", top)]
        if qpn is not None:
            written = qpn.to_bytes(3, self.order)
            said.append((f"its queue pair number ({written.hex(' ')})", written, before + after))
        return said


FORMS: tuple[Digits | Octets, ...] = (
    Digits(
        "hexadecimal",
        re.compile(rb"(?<![0-9A-Fa-f])0{0,2}([0-9A-Fa-f]{6})(?![0-9A-Fa-f])"),
        16,
        "{:06x}",
    ),
    Digits("decimal", re.compile(rb"(?<![0-9])([0-9]{5,8})(?![0-9])"), 10, "{}"),
    Octets("bytes", "big"),
    Octets("bytes, last first", "little"),
)


def searches_payload(secrets: Sequence[Secret], pieces: Sequence[Piece]) -> bool:
    """Whether a find of three bytes in RDMA payload means anything: not in very much of it."""
    octets = sum(len(piece.data) for piece in pieces if piece.rdma)
    return octets * len(secrets) / VALUES < POINTLESS


def search(secrets: Sequence[Secret], pieces: Sequence[Piece]) -> list[Leak]:
    """Every secret that stands in clear before its first use, by form, RDMA payload apart."""
    by_psn: dict[int, list[Secret]] = {}
    for secret in secrets:
        by_psn.setdefault(secret.psn, []).append(secret)
    wanted = np.zeros(VALUES, bool)
    wanted[list(by_psn)] = True
    found = []
    for rdma in (False, True):
        mine = sorted((piece for piece in pieces if piece.rdma == rdma), key=lambda p: p.frame)
        for form in FORMS:
            if rdma and isinstance(form, Octets) and not searches_payload(secrets, pieces):
                continue
            found += _in_form(form, secrets, by_psn, mine, wanted)
    return found


def _in_form(
    form: Digits | Octets,
    secrets: Sequence[Secret],
    by_psn: dict[int, list[Secret]],
    pieces: Sequence[Piece],
    wanted: NDArray[np.bool_],
) -> list[Leak]:
    counts: list[int] = []
    hits: dict[int, list[Hit]] = {}
    for piece in pieces:
        count, there = form.search(piece, wanted)
        counts.append(count)
        for hit in there:
            hits.setdefault(hit.value, []).append(hit)
    if not hits:
        return []
    windows = [0, *accumulate(counts)]
    frames = [piece.frame for piece in pieces]

    def searched(secret: Secret) -> int:
        """Windows before the secret's first use."""
        return windows[bisect_left(frames, secret.used)]

    expected = sum(searched(secret) for secret in secrets) / VALUES
    text = isinstance(form, Digits)
    beside = Beside(form, [piece.data.lower() if text else piece.data for piece in pieces])
    leaks: list[Leak] = []
    for value, places in hits.items():
        for secret in by_psn[value]:
            mine = [hit for hit in places if hit.piece.frame < secret.used]
            if mine:
                weighed = len(leaks) < WEIGHED
                best, context = beside.best(mine, secret.qpn) if weighed else (1.0, ())
                chance = min(1.0, expected) * min(1.0, best * len(mine))
                at = tuple(dict.fromkeys(hit.piece.frame for hit in mine))
                leaks.append(Leak(secret, form.name, at, expected, chance, context))
    return leaks


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside finds of a form, and how often it stands in all the bytes searched."""

    form: Digits | Octets
    everything: Sequence[bytes]
    counts: dict[bytes, int] = field(default_factory=dict)

    def best(self, hits: Sequence[Hit], qpn: int | None) -> tuple[float, tuple[str, ...]]:
        """The context that chance gives least: its probability, and what it is."""
        return min((self._of(hit, qpn) for hit in hits[:WEIGHED]), key=lambda one: one[0])

    def _of(self, hit: Hit, qpn: int | None) -> tuple[float, tuple[str, ...]]:
        chance, found = 1.0, []
        octets = sum(map(len, self.everything))
        for what, written, where in self.form.beside(hit, qpn):
            if written in where:
                found.append(what)
                chance *= min(1.0, self._count(written) * len(where) / octets)
        return chance, tuple(found)

    def _count(self, written: bytes) -> int:
        if written not in self.counts:
            self.counts[written] = sum(data.count(written) for data in self.everything)
        return self.counts[written]
