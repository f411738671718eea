"""Datagrams to runs: what arrived in order, checked and ready for a queue pair.

The checks stand in an order that survives hostile input: length, opcode, headers, pad, then ICRC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from dissectors import icrc, psn
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.opcode import BY_VALUE, Opcode
from dissectors.transport import parse_transport
from lab.engine.burst import Burst, Path
from lab.engine.outer import outer_state

H = TypeVar("H", bound=Header)

_PLACES = {"FIRST", "MIDDLE", "LAST", "ONLY", "WITH", "IMMEDIATE", "INVALIDATE"}

# RC_SEND, RC_RDMA_WRITE, RC_RDMA_READ_RESPONSE, ...: what the packets of a message have in common.
FAMILY = {
    opcode: "_".join(word for word in opcode.name.split("_") if word not in _PLACES)
    for opcode in Opcode
}


@dataclass(frozen=True, slots=True)
class Run:
    """Packets of one message that arrived with consecutive PSNs; `chunks` is the payload of each.

    `bth` is that of the first packet, `first` and `last` the opcodes of the ends, `extended` the
    extended headers of the first packet and the last. Every chunk but the last has the same length.
    """

    path: Path
    bth: BTH
    first: Opcode
    last: Opcode
    extended: dict[type[Header], Header]
    chunks: tuple[memoryview, ...]
    ack_req: bool
    solicited: bool

    def __len__(self) -> int:
        """Number of packets."""
        return len(self.chunks)

    @property
    def first_psn(self) -> int:
        return self.bth.psn

    @property
    def last_psn(self) -> int:
        return int(psn.add(self.bth.psn, len(self.chunks) - 1))

    @property
    def length(self) -> int:
        """Payload bytes."""
        return sum(map(len, self.chunks))

    @property
    def family(self) -> str:
        return FAMILY[self.first]

    def header(self, kind: type[H]) -> H:
        """The extended header of `kind`; KeyError where the opcodes carry none."""
        return cast(H, self.extended[kind])

    def split(self, count: int) -> tuple[Run, Run]:
        """The first `count` packets (1 to len - 1) and the others, as two runs."""
        middle = Opcode[f"{self.family}_MIDDLE"]
        head = replace(
            self,
            last=middle if count > 1 else self.first,
            chunks=self.chunks[:count],
            ack_req=False,
            solicited=False,
        )
        rest = len(self) - count
        tail = replace(
            self,
            bth=self.bth.replace(psn=psn.add(self.bth.psn, count)),
            first=middle if rest > 1 else self.last,
            chunks=self.chunks[count:],
        )
        return head, tail

    def joins(self, later: Run) -> bool:
        """Whether `later` goes on where this run ends."""
        return (
            not self.last.ends_message
            and not later.first.starts_message
            and later.family == self.family
            and later.bth.dest_qp == self.bth.dest_qp
            and later.bth.psn == psn.add(self.last_psn, 1)
            and len(self.chunks[-1]) == len(self.chunks[0]) >= len(later.chunks[0])
            and later.bth.p_key == self.bth.p_key
        )

    def joined(self, later: Run) -> Run:
        return replace(
            self,
            last=later.last,
            extended=self.extended | later.extended,
            chunks=self.chunks + later.chunks,
            ack_req=self.ack_req or later.ack_req,
            solicited=self.solicited or later.solicited,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """A datagram that is no packet: the counter it falls under and what was wrong with it."""

    counter: str
    reason: str


def decode(burst: Burst) -> Iterator[Run | Refused]:
    """The runs in `burst`, and what was refused, in order of arrival; never raises."""
    held: Run | None = None
    for datagram in burst.datagrams():
        found = _parse(datagram)
        if held is not None and isinstance(found, Run) and held.joins(found):
            held = held.joined(found)
            continue
        if held is not None:
            yield held
            held = None
        if isinstance(found, Run):
            held = found
        else:
            yield found
    if held is not None:
        yield held


def _parse(datagram: Burst) -> Run | Refused:
    data = memoryview(datagram.data)
    headers, offset, length, damage = parse_transport(data)
    if damage is not None:
        return Refused("rcvd_malformed_err", str(damage))
    end = len(data) - icrc.SIZE
    state = outer_state(datagram.path, datagram.source_port, len(data), datagram.identification)
    expected, found = icrc.over_transport(data[:end], state), icrc.from_wire(data[end:])
    if expected != found:
        return Refused("rcvd_icrc_err", f"ICRC 0x{found:08x}, expected 0x{expected:08x}")
    bth = cast(BTH, headers[0])
    opcode = BY_VALUE[bth.opcode]
    assert opcode is not None
    return Run(
        path=datagram.path,
        bth=bth,
        first=opcode,
        last=opcode,
        extended={type(header): header for header in headers[1:]},
        chunks=(data[offset : offset + length],),
        ack_req=bool(bth.ack_req),
        solicited=bool(bth.se),
    )
