"""One frame: parsed from bytes, or built into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from dissectors import describe, icrc
from dissectors.bth import BTH
from dissectors.carriers import carriers, first_header, linked
from dissectors.damage import Damage, DamageCode
from dissectors.deth import DETH
from dissectors.grh import GRH
from dissectors.header import Buffer, Field, Header
from dissectors.ip import IPv4, IPv6
from dissectors.lrh import LRH
from dissectors.management import cut_management, is_management, parse_management
from dissectors.opcode import BY_VALUE
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
    check sequence, a VCRC. `cut` is the header that `payload` is the beginning of, where the
    frame ends inside a header.
    """

    headers: tuple[Header, ...]
    payload: bytes = b""
    pad: bytes | None = None
    icrc: int | None = None
    trailer: bytes = b""
    damage: Damage | None = None
    link_type: int = 1
    cut: type[Header] | None = None

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
            return cls(headers, payload, b"", None, trailer, damage, link_type, carried.follows)
        found = parse_transport(frame, start, end)
        headers += found.headers
        damage = damage or found.damage
        start = found.payload_offset
        stop = start + found.payload_length
        if found.damage is not None:
            rest, cut = frame[start:stop], _cut(found.headers, found.damage)
            return cls(headers, rest, b"", None, frame[stop:], damage, link_type, cut)
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
        return parse_management(self.payload) if self.carries_management else ()

    @property
    def carries_management(self) -> bool:
        """Whether the payload is a management datagram, or the beginning of one."""
        bth = self.get(BTH)
        return bth is not None and is_management(bth, self.get(DETH))

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

        The IP addresses of a CM request lie inside its private data, and come after that. Of a
        header that the frame cuts off come the fields that are there whole.
        """
        start = 0
        for header in self.headers:
            yield from _places(header, start)
            start += len(header.pack())
        for offset, header in self.management:
            yield from _places(header, start + offset)
        if self.cut_header is not None:
            offset, header = self.cut_header
            for place in _places(header, start + offset):
                if place.bit_offset + place.bits <= 8 * (start + len(self.payload)):
                    yield place

    @property
    def cut_header(self) -> tuple[int, Header] | None:
        """The header that the frame ends in, behind its offset in the payload, zero where its
        bytes are missing; None where there is none.
        """
        found: tuple[int, type[Header]] | None = None
        if self.cut is not None:
            found = 0, self.cut
        elif self.damage is not None and self.carries_management:
            found = cut_management(self.payload)
        if found is None or len(self.payload) <= found[0]:
            return None
        offset, kind = found
        return offset, kind.parse(self.payload[offset:].ljust(kind.size, b"\0"))

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
        return describe.summary(self)

    def tree(self) -> str:
        """Headers and fields, one a line: byte offset, bits, name, value in words, meaning."""
        return describe.tree(self)


def _cut(headers: tuple[Header, ...], damage: Damage) -> type[Header] | None:
    """The header that did not fit behind BTH and what of its extended headers did."""
    if damage.code not in (DamageCode.CUT, DamageCode.LENGTH):
        return None
    opcode = BY_VALUE[headers[0].opcode] if headers and isinstance(headers[0], BTH) else None
    kinds: tuple[type[Header], ...] = (BTH, *(opcode.headers if opcode is not None else ()))
    return kinds[len(headers)]


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
