"""One frame: parsed from bytes, or built into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from dissectors import icrc, opcode
from dissectors.aeth import AETH, decode
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.carriers import carriers, first_header, linked
from dissectors.cm import (
    CM_DREP,
    CM_DREQ,
    CM_MRA,
    CM_REJ,
    CM_REP,
    CM_REQ,
    CM_RTU,
    CM_SIDR_REP,
    CM_SIDR_REQ,
)
from dissectors.damage import Damage
from dissectors.deth import DETH
from dissectors.grh import GRH
from dissectors.header import Buffer, Field, Header
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.ip import IPv4, IPv6
from dissectors.lrh import LRH
from dissectors.management import is_management, parse_management
from dissectors.reth import RETH
from dissectors.sa import PathRecord
from dissectors.transport import parse_transport
from dissectors.udp import ROCE_PORT, UDP

H = TypeVar("H", bound=Header)


class Place(NamedTuple):
    """A field in a frame."""

    header: Header
    field: Field
    bit_offset: int
    bits: int
    value: Any


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame: `headers` outermost first, `payload` (bytes no header covers), `pad`, `icrc`,
    `trailer`.

    `pad` and `icrc` are None where `build` shall compute them, or where a damaged or cut frame
    has none. `trailer` is what stands behind the innermost length: Ethernet padding, a frame
    check sequence, a VCRC.
    """

    headers: tuple[Header, ...]
    payload: bytes = b""
    pad: bytes | None = None
    icrc: int | None = None
    trailer: bytes = b""
    damage: Damage | None = None
    link_type: int = 1

    @classmethod
    def parse(
        cls,
        frame: Buffer,
        link_type: int = 1,
        original_length: int | None = None,
        roce_port: int = ROCE_PORT,
    ) -> Packet:
        """Read a frame of `link_type` (libpcap's LINKTYPE_ number) that had `original_length`
        bytes.

        Never raises, whatever the bytes: what cannot be read is payload, and `damage` says why.
        """
        frame = bytes(frame)
        length = max(len(frame), original_length or 0)
        carried = carriers(frame, first_header(link_type, frame), length, roce_port)
        headers, damage, start, end = carried.headers, carried.damage, carried.start, carried.end
        if carried.follows is not BTH:
            payload, trailer = frame[start:end], frame[end:]
            return cls(headers, payload, b"", None, trailer, damage, link_type)
        found = parse_transport(frame, start, end)
        headers += found.headers
        damage = damage or found.damage
        start = found.payload_offset
        stop = start + found.payload_length
        if found.damage is not None:
            return cls(headers, frame[start:stop], b"", None, frame[stop:], damage, link_type)
        check = end - icrc.SIZE
        whole = end <= len(frame)
        return cls(
            headers,
            payload=frame[start:stop],
            pad=frame[stop:check],
            icrc=icrc.from_wire(frame[check:end]) if whole else None,
            trailer=frame[end if whole else check :],
            damage=damage,
            link_type=link_type,
        )

    def build(self) -> bytes:
        """The frame's bytes, with everything that is AUTO or None computed.

        A damaged packet is put together as it was found.
        """
        if self.damage is not None:
            return b"".join([*(h.pack() for h in self.headers), *self._behind(self.pad or b"")])
        pad = self.pad
        headers = linked(self.headers)
        if pad is None:
            pad = bytes(-len(self.payload) % 4) if BTH in self else b""
            headers = tuple(
                h.replace(pad_count=len(pad)) if isinstance(h, BTH) else h for h in headers
            )
        after = len(self.payload) + len(pad) + (icrc.SIZE if BTH in self else 0)
        filled: list[Header] = []
        for header in reversed(headers):
            filled.append(header.filled(after))
            after += filled[-1].header_length
        complete = Packet(tuple(reversed(filled)), self.payload, pad, self.icrc, self.trailer)
        packed = [header.pack() for header in complete.headers]
        if BTH not in self:
            return b"".join([*packed, *complete._behind(pad)])
        value = self.icrc if self.icrc is not None else complete.computed_icrc()
        return b"".join([*packed, self.payload, pad, icrc.to_wire(value or 0), self.trailer])

    def _behind(self, pad: bytes) -> list[bytes]:
        check = icrc.to_wire(self.icrc) if self.icrc is not None else b""
        return [self.payload, pad, check, self.trailer]

    def computed_icrc(self) -> int | None:
        """The ICRC that this packet's bytes call for; None where it carries no BTH, or BTH over
        nothing.
        """
        kinds = [type(header) for header in self.headers]
        if BTH not in kinds:
            return None
        bth = kinds.index(BTH)
        networks = [n for n, kind in enumerate(kinds[:bth]) if kind in ICRC_STATES]
        if not networks:
            return None
        inner = self.headers[networks[-1] : bth]
        udp = [header.pack() for header in inner if isinstance(header, UDP)]
        network = b"".join(header.pack() for header in inner if not isinstance(header, UDP))
        state = ICRC_STATES[kinds[networks[-1]]](network)
        for header_bytes in udp:
            state = icrc.udp_state(header_bytes, state)
        transport = b"".join(header.pack() for header in self.headers[bth:])
        return icrc.over_transport(transport + self.payload + (self.pad or b""), state)

    @property
    def icrc_status(self) -> int:
        """ICRC_NOT_ROCE, ICRC_OK, ICRC_BAD or ICRC_UNCHECKABLE (bytes are missing or damaged)."""
        if BTH not in self:
            return icrc.ICRC_NOT_ROCE
        if self.icrc is None or self.damage is not None:
            return icrc.ICRC_UNCHECKABLE
        return icrc.ICRC_OK if self.icrc == self.computed_icrc() else icrc.ICRC_BAD

    @property
    def management(self) -> tuple[tuple[int, Header], ...]:
        """Headers of the management datagram that the payload is, each behind its offset in the
        payload; empty where it is none.
        """
        bth = self.get(BTH)
        if bth is None or not is_management(bth, self.get(DETH)):
            return ()
        return parse_management(self.payload)

    def get(self, kind: type[H]) -> H | None:
        """The innermost header of class `kind`, or None."""
        return next((h for h in reversed(self.headers) if isinstance(h, kind)), None)

    def __getitem__(self, kind: type[H]) -> H:
        """The innermost header of class `kind`; KeyError where the packet has none."""
        header = self.get(kind)
        if header is None:
            raise KeyError(f"no {kind.__name__} in this packet: {self}")
        return header

    def __contains__(self, kind: type[Header]) -> bool:
        return self.get(kind) is not None

    def layout(self) -> Iterator[Place]:
        """Every field of every header and its place in the frame, in wire order.

        The IP addresses of a CM request lie inside its private data, and come after that.
        """
        start = 0
        for header in self.headers:
            yield from _places(header, start)
            start += len(header.pack())
        for offset, header in self.management:
            yield from _places(header, start + offset)

    @property
    def ends(self) -> tuple[str, str]:
        """Innermost source and destination address in words; empty where there is none."""
        for header in reversed(self.headers):
            fields = {field.name: field for field in header.fields}
            for source, destination in (("src", "dst"), ("sgid", "dgid")):
                if source in fields:
                    values = header.as_dict()
                    return (
                        fields[source].text(values[source]),
                        fields[destination].text(values[destination]),
                    )
        return "", ""

    def __str__(self) -> str:
        """One line: ends, what it is, queue pair, PSN, and what its headers say."""
        source, destination = self.ends
        bth = self.get(BTH)
        names = [type(header).__name__ for header in self.headers]
        parts = [f"{source} > {destination}"] if source else []
        if bth is None:
            parts.append(" / ".join(names) or "unknown")
        else:
            parts.append(opcode.name(bth.opcode))
            said = (*self.headers, *(header for _, header in self.management))
            parts += [text(header) for header in said if (text := SUMMARIES.get(type(header)))]
        parts.append(f"length {len(self.payload)}")
        return ", ".join(parts) + (f" [{self.damage}]" if self.damage else "")

    def tree(self) -> str:
        """Headers and fields, one a line: byte offset, bits, name, value in words."""
        lines: list[str] = []
        current: Header | None = None
        for header, field, bit_offset, bits, value in self.layout():
            if header is not current:
                current = header
                title = (type(header).__doc__ or "").splitlines()[0]
                lines.append(f"{bit_offset // 8:5}  {type(header).__name__}: {title}")
            where = f"{bit_offset // 8:5}" + (f".{bit_offset % 8}" if bit_offset % 8 else "  ")
            lines.append(f"{where}    {bits:3} bits  {field.name} = {field.text(value)}")
        if self.payload:
            lines.append(f"       payload: {len(self.payload)} bytes, pad: {len(self.pad or b'')}")
        if self.icrc is not None:
            status = {icrc.ICRC_OK: "correct", icrc.ICRC_BAD: "WRONG"}.get(self.icrc_status, "")
            lines.append(f"       ICRC 0x{self.icrc:08x} {status}")
        if self.damage:
            lines.append(f"       damage: {self.damage}")
        return "\n".join(lines)


def _places(header: Header, start: int) -> Iterator[Place]:
    """The fields of a header that begins `start` bytes into the frame."""
    for field, value in zip(header.fields, header, strict=True):
        bits = 8 * len(value) if isinstance(value, bytes) else field.bits
        if bits:
            yield Place(header, field, 8 * start + field.bit_offset, bits, value)


ICRC_STATES: dict[type[Header], Callable[[Buffer], int]] = {
    IPv4: icrc.ipv4_state,
    IPv6: icrc.ipv6_state,
    GRH: icrc.ipv6_state,
    LRH: icrc.lrh_state,
}
"""Innermost header below UDP and BTH -> the CRC state after it and what extends it."""

SUMMARIES: dict[type[Header], Callable[[Any], str]] = {
    BTH: lambda h: f"QP {h.dest_qp:#x}, PSN {h.psn}" + (" AckReq" if h.ack_req else ""),
    DETH: lambda h: f"from QP {h.src_qp:#x}, Q_Key {h.q_key:#x}",
    RETH: lambda h: f"VA {h.va:#x}, R_Key {h.r_key:#x}, DMA length {h.dma_len}",
    AETH: lambda h: f"{decode(h.syndrome).text}, MSN {h.msn}",
    AtomicETH: lambda h: f"VA {h.va:#x}, swap/add {h.swap_add}, compare {h.compare}",
    ImmDt: lambda h: f"immediate {h.data:#x}",
    IETH: lambda h: f"invalidates R_Key {h.r_key:#x}",
    AtomicAckETH: lambda h: f"was {h.original}",
    CM_REQ: lambda h: f"CM REQ, QP {h.local_qpn:#x}, starting PSN {h.starting_psn}",
    CM_MRA: lambda h: "CM MRA",
    CM_REJ: lambda h: f"CM REJ, {CM_REJ.reason.text(h.reason)}",
    CM_REP: lambda h: f"CM REP, QP {h.local_qpn:#x}, starting PSN {h.starting_psn}",
    CM_RTU: lambda h: "CM RTU",
    CM_DREQ: lambda h: f"CM DREQ, QP {h.remote_qpn:#x}",
    CM_DREP: lambda h: "CM DREP",
    CM_SIDR_REQ: lambda h: f"CM SIDR REQ, service {h.service_id:#x}",
    CM_SIDR_REP: lambda h: f"CM SIDR REP, QP {h.qpn:#x}, Q_Key {h.q_key:#x}",
    PathRecord: lambda h: (
        f"path record {PathRecord.sgid.text(h.sgid)} > {PathRecord.dgid.text(h.dgid)}"
    ),
}
