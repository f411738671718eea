"""Datagrams to runs: what arrived in order, checked and ready for a queue pair.

The checks stand in an order that survives hostile input: length, opcode, headers and pad, ICRC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from dissectors import icrc, psn
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.opcode import BY_VALUE, Opcode
from lab.engine.burst import Burst, Path
from lab.engine.identification import identification
from lab.engine.outer import outer_state

H = TypeVar("H", bound=Header)

_PLACES = {"FIRST", "MIDDLE", "LAST", "ONLY", "WITH", "IMMEDIATE", "INVALIDATE"}

# RC_SEND, RC_RDMA_WRITE, RC_RDMA_READ_RESPONSE, ...: what the packets of a message have in common.
FAMILY = {
    opcode: "_".join(word for word in opcode.name.split("_") if word not in _PLACES)
    for opcode in Opcode
}

# Which packets go on where one of each opcode ends.
FOLLOWS = {
    opcode: frozenset(
        later
        for later in Opcode
        if not opcode.ends_message and not later.starts_message and FAMILY[later] == FAMILY[opcode]
    )
    for opcode in Opcode
}


class Run(NamedTuple):
    """Packets of one message that arrived with consecutive PSNs; `chunks` is the payload of each.

    `bth` is that of the first packet, `first` and `last` the opcodes of the ends, `head` and `tail`
    those two packets. Every chunk but the last has the same length.
    """

    path: Path
    bth: BTH
    first: Opcode
    last: Opcode
    head: memoryview
    tail: memoryview
    chunks: list[memoryview]
    ack_req: bool
    solicited: bool

    @property
    def packet_count(self) -> int:
        return len(self.chunks)

    @property
    def first_psn(self) -> int:
        return self.bth.psn

    @property
    def last_psn(self) -> int:
        return (self.bth.psn + len(self.chunks) - 1) & psn.MASK

    @property
    def length(self) -> int:
        """Payload bytes."""
        return len(self.chunks[0]) * (len(self.chunks) - 1) + len(self.chunks[-1])

    @property
    def family(self) -> str:
        return FAMILY[self.first]

    def header(self, kind: type[H]) -> H:
        """The extended header of `kind`; ValueError where neither end's opcode carries one."""
        end, opcode = self.head, self.first
        if kind not in opcode.headers:
            end, opcode = self.tail, self.last
        before = opcode.headers[: opcode.headers.index(kind)]
        return kind.parse(end, BTH.size + sum(header.size for header in before))

    def split(self, count: int) -> tuple[Run, Run]:
        """The first `count` packets (1 to packet_count - 1) and the others, as two runs."""
        middle = Opcode[f"{self.family}_MIDDLE"]
        head = self._replace(
            last=middle if count > 1 else self.first,
            tail=self.head,
            chunks=self.chunks[:count],
            ack_req=False,
            solicited=False,
        )
        tail = self._replace(
            bth=self.bth.replace(psn=psn.add(self.bth.psn, count)),
            first=middle if self.packet_count - count > 1 else self.last,
            head=self.tail,
            chunks=self.chunks[count:],
        )
        return head, tail


class Refused(NamedTuple):
    """A datagram that is no packet: the counter it falls under and what was wrong with it."""

    counter: str
    reason: str


def decode(burst: Burst, identifications: int = 1) -> Iterator[Run | Refused]:
    """The runs in `burst`, and what was refused, in order of arrival; never raises.

    The IPv4 identification a burst has is a guess where it came through a socket: any below
    `identifications` will do.
    """
    held: Run | None = None
    for datagram in burst.datagrams():
        found = _parse(datagram, identifications)
        if held is not None:
            if isinstance(found, Run) and _goes_on(held, found):
                held.chunks.append(found.chunks[0])
                held = held._replace(
                    last=found.last,
                    tail=found.tail,
                    ack_req=held.ack_req or found.ack_req,
                    solicited=found.solicited,
                )
                continue
            yield held
            held = None
        if isinstance(found, Refused) or found.last.ends_message:
            yield found
        else:
            held = found
    if held is not None:
        yield held


def _goes_on(run: Run, later: Run) -> bool:
    """Whether the packet `later` goes on where `run` ends."""
    return (
        later.first in FOLLOWS[run.last]
        and later.bth.psn == (run.bth.psn + len(run.chunks)) & psn.MASK
        and later.bth.dest_qp == run.bth.dest_qp
        and later.bth.p_key == run.bth.p_key
        and len(run.chunks[-1]) == len(run.chunks[0]) >= len(later.chunks[0])
    )


def _parse(datagram: Burst, identifications: int) -> Run | Refused:
    path, source_port, buffer, size, number = datagram
    data = memoryview(buffer)
    if size < BTH.size + icrc.SIZE or len(data) != size:
        return Refused("rcvd_malformed_err", f"{len(data)} bytes, BTH and ICRC take 16")
    bth = BTH.parse(data)
    opcode = BY_VALUE[bth.opcode]
    if opcode is None:
        return Refused("rcvd_malformed_err", f"opcode 0x{bth.opcode:02x} is not assigned")
    if bth.tver:
        return Refused("rcvd_malformed_err", f"transport version {bth.tver}, expected 0")
    start, end = opcode.size, size - icrc.SIZE - bth.pad_count
    if start > end:
        reason = f"{size} bytes do not hold a {opcode.text} with {bth.pad_count} bytes of pad"
        return Refused("rcvd_malformed_err", reason)
    state = outer_state(path, source_port, size, number)
    expected = icrc.over_transport(data[: size - icrc.SIZE], state)
    found = icrc.from_wire(data[size - icrc.SIZE :])
    if expected != found and not _explained(path, number, expected ^ found, size, identifications):
        return Refused("rcvd_icrc_err", f"ICRC of a {opcode.text} with PSN {bth.psn}")
    return Run(
        path,
        bth,
        opcode,
        opcode,
        data,
        data,
        [data[start:end]],
        bool(bth.ack_req),
        bool(bth.se),
    )


def _explained(path: Path, number: int, difference: int, size: int, most: int) -> bool:
    """Whether the ICRC holds with another identification below `most` than `number`."""
    if most <= 1 or len(path.source) != 4:
        return False
    actual = identification(number, difference, size - icrc.SIZE)
    return actual is not None and actual < most
