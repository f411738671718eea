"""The headers' declarations as arrays of numbers: what the compiled decoder walks by.

A header has the number of its place in HEADERS; -1 is no header. Nothing is known here that a
header class, the carriers' table or the opcode table does not say.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from dissectors.aeth import AETH
from dissectors.arp import ARP
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.carriers import FOLLOWS, first_header
from dissectors.deth import DETH
from dissectors.erf import ERF
from dissectors.ethernet import VLAN, Ethernet
from dissectors.feth import FETH
from dissectors.gre import GRE
from dissectors.grh import GRH
from dissectors.header import Field, Header, Span, Variable
from dissectors.icrc import ones
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.loopback import Loopback
from dissectors.lrh import LRH
from dissectors.opcode import BY_VALUE
from dissectors.pause import PFC, MACControl, Pause
from dissectors.rdeth import RDETH
from dissectors.reth import RETH
from dissectors.sll import SLL, SLL2
from dissectors.tcp import TCP
from dissectors.udp import UDP
from dissectors.vxlan import VXLAN
from dissectors.xrceth import XRCETH

Array = np.ndarray[Any, np.dtype[Any]]

HEADERS: tuple[type[Header], ...] = (
    Ethernet,
    VLAN,
    IPv4,
    IPv6,
    IPv6Extension,
    IPv6Authentication,
    IPv6Fragment,
    GRH,
    UDP,
    TCP,
    BTH,
    RDETH,
    DETH,
    XRCETH,
    FETH,
    RETH,
    AtomicETH,
    AETH,
    AtomicAckETH,
    ImmDt,
    IETH,
    SLL,
    SLL2,
    Loopback,
    ERF,
    LRH,
    GRE,
    VXLAN,
    ARP,
    MACControl,
    Pause,
    PFC,
)
"""Headers that have columns; their order is that of the bits of the `headers` column."""

ADDRESSES: dict[type[Header], Field] = {IPv4: IPv4.src, IPv6: IPv6.src, GRH: GRH.sgid}
"""Network header -> its source address; the destination stands right behind it."""

NUMBERS = {kind: number for number, kind in enumerate(HEADERS)}
EMPTY = 256
"""Column of `first_headers` for a frame without a byte."""


class Rules(NamedTuple):
    """A row per header, in the order of HEADERS; -1 where there is no field or header.

    Fields stand as row numbers of `fields`; a span as base, scale, and up to three fields.
    """

    bth: int
    udp: int
    deth: int
    dest_qp: int
    pad_count: int
    fields: Array
    """First byte, bytes, shift, mask."""
    size: Array
    store: Array
    """Bytes of the headers before this one, for one packet."""
    limits: Array
    """Up to three times field, least, greatest."""
    length: Array
    extent: Array
    follow: Array
    """Field, then first and last + 1 row of `next`."""
    next: Array
    """Value of the field, header."""
    fragment: Array
    """Fields that are not 0 in a fragment."""
    address: Array
    """First byte of the source address, and its size (0 = no network header)."""
    mask: Array
    """Bits the ICRC takes as ones."""
    hard: Array
    """1 for a header that only its own class can parse."""
    opcode: Array
    """A row per opcode: how many headers follow BTH (-1 = not assigned), and which."""


class Frames(NamedTuple):
    """Where frames lie in the buffer, and how long they were on the wire: one row each."""

    position: Array
    captured: Array
    original: Array
    link: Array


class Found(NamedTuple):
    """What the decoder writes, all zeros before: `store` holds header k's bytes of all rows from
    `rows * rules.store[k]` on.
    """

    store: Array
    headers: Array
    src: Array
    dst: Array
    payload_offset: Array
    payload_length: Array
    icrc_status: Array
    damage: Array
    hard: Array


def is_hard(kind: type[Header]) -> bool:
    """Whether `kind` does more than declare, so that numbers alone cannot stand for it."""
    return any(
        getattr(kind, name) is not getattr(base, name)
        for base, names in (
            (Variable if issubclass(kind, Variable) else Header, ("parse",)),
            (Header, ("header_length", "reach", "check")),
        )
        for name in names
        if not (name == "parse" and getattr(kind, name).__func__ is getattr(base, name).__func__)
    )


class _Fields:
    """Field specifications collected as rows of numbers."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int, int]] = []

    def number(self, kind: type[Header], name: str) -> int:
        """The row of a field of at most 32 bits."""
        field: Field = getattr(kind, name)
        first = field.bit_offset // 8
        end = -(-(field.bit_offset + field.bits) // 8)
        shift = 8 * end - field.bit_offset - field.bits
        row = (first, end - first, shift, (1 << field.bits) - 1)
        if row not in self.rows:
            self.rows.append(row)
        return self.rows.index(row)

    def span(self, kind: type[Header], span: Span | None) -> list[int]:
        """Base, scale, and three fields; of no span the scale is 0."""
        if span is None:
            return [kind.size, 0, -1, -1, -1]
        numbers = [self.number(kind, name) for name in span.fields]
        return [span.base, span.scale, *(numbers + [-1] * 3)[:3]]


@lru_cache(maxsize=4)
def rules(roce_port: int) -> Rules:
    """The rules, RoCEv2 being found on `roce_port` too."""
    fields = _Fields()
    limits = np.full((len(HEADERS), 9), -1, np.int64)
    follow = np.full((len(HEADERS), 3), -1, np.int64)
    fragment = np.full((len(HEADERS), 2), -1, np.int64)
    mask = np.zeros((len(HEADERS), max(kind.size for kind in HEADERS)), np.uint8)
    following: list[tuple[int, int]] = []
    for number, kind in enumerate(HEADERS):
        for place, (name, (least, greatest)) in enumerate(kind.LIMITS.items()):
            limits[number, 3 * place : 3 * place + 3] = fields.number(kind, name), least, greatest
        if kind in FOLLOWS:
            name, kinds = FOLLOWS[kind]
            start = len(following)
            if kind is UDP:
                following.append((roce_port, NUMBERS[BTH]))
            following += [(value, NUMBERS[after]) for value, after in kinds.items()]
            follow[number] = fields.number(kind, name), start, len(following)
        if hasattr(kind, "fragment"):
            fragment[number] = [fields.number(kind, name) for name in ("mf", "fragment_offset")]
        mask[number, : kind.size] = np.frombuffer(ones(kind), np.uint8)
    opcodes = np.full((256, 8), -1, np.int64)
    for value, opcode in enumerate(BY_VALUE):
        if opcode is not None:
            headers = [NUMBERS[after] for after in opcode.headers]
            opcodes[value, : len(headers) + 1] = [len(headers), *headers]
    size = np.array([kind.size for kind in HEADERS])
    addresses = [(ADDRESSES[kind].bit_offset // 8, ADDRESSES[kind].bits // 8)
                 if kind in ADDRESSES else (-1, 0) for kind in HEADERS]  # fmt: skip
    length = np.array([fields.span(kind, kind.LENGTH) for kind in HEADERS])
    extent = np.array([fields.span(kind, kind.EXTENT) for kind in HEADERS])
    return Rules(
        bth=NUMBERS[BTH],
        udp=NUMBERS[UDP],
        deth=NUMBERS[DETH],
        dest_qp=fields.number(BTH, "dest_qp"),
        pad_count=fields.number(BTH, "pad_count"),
        fields=np.array(fields.rows),
        size=size,
        store=np.cumsum(size) - size,
        limits=limits,
        length=length,
        extent=extent,
        follow=follow,
        next=np.array(following),
        fragment=fragment,
        address=np.array(addresses),
        mask=mask,
        hard=np.array([is_hard(kind) for kind in HEADERS]),
        opcode=opcodes,
    )


def first_headers(link_types: list[int]) -> Array:
    """First header of a frame by link type and first byte, shape (link types, 257)."""
    numbers: dict[Any, int] = {None: -1, **NUMBERS}
    table = np.full((max(1, len(link_types)), EMPTY + 1), -1, np.int64)
    for row, link_type in enumerate(link_types):
        for byte in range(EMPTY):
            table[row, byte] = numbers[first_header(link_type, bytes([byte]))]
        table[row, EMPTY] = numbers[first_header(link_type, b"")]
    return table
