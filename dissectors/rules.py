"""The headers' declarations as arrays of numbers: what the compiled decoder walks by.

A header has the number of its place in HEADERS; -1 is no header. Nothing is known here that a
header class, the carriers' table or the opcode table does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

# Columns of a header's row. A field takes four: first byte, bytes (0 = no field, which also ends a
# list of them), shift, mask.
SIZE, STORE, HARD, ADDRESS, ADDRESS_SIZE = range(5)
LENGTH = 5
"""Base, scale, up to three fields whose sum is scaled."""
EXTENT = LENGTH + 2 + 3 * 4 + 2
"""As LENGTH."""
LIMITS = EXTENT + 2 + 3 * 4 + 2
"""Up to three times a field, its least and its greatest value."""
FOLLOW = LIMITS + 3 * 6 + 2
"""A field, first and last + 1 row of `following` to find its value in."""
FRAGMENT = FOLLOW + 6
"""Up to two fields that are 0 in what is no fragment."""
WIDTH = FRAGMENT + 2 * 4 + 2
MASK_SIZE = 64
"""Bytes of a row of masks; those of the header, then zeros."""
MAX_APART = 512
"""Bytes from a packet's network header to its BTH up to which compiled code computes its ICRC."""

Spread = Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]
"""What does a thing for each of many numbers: `map`, or an executor's."""


class Rules(NamedTuple):
    """All that the compiled decoder goes by."""

    header: Array
    """A row per header, in the order of HEADERS; columns as above."""
    following: Array
    """Value of a FOLLOW field, and the header that it announces."""
    mask: Array
    """A row per header: the bits that the ICRC takes as ones."""
    opcode: Array
    """A row per opcode: how many headers follow BTH (-1 = not assigned), and which."""

    @property
    def size(self) -> Array:
        """Bytes of each header's fixed part."""
        return self.header[:, SIZE]

    @property
    def store(self) -> Array:
        """Bytes of the headers before each one, for one packet."""
        return self.header[:, STORE]


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
    """Where `covered` is not 0, ICRC_UNCHECKABLE until somebody checks it."""
    covered: Array
    """What `dissectors.check` needs to check an ICRC that can be: the number of the network header
    + 1 (8 bits), whether UDP stands before BTH (8), bytes from network header to BTH (16), and
    where in the frame the network header stands (32).
    """
    damage: Array
    hard: Array


def is_hard(kind: type[Header]) -> bool:
    """Whether `kind` does more than declare, so that numbers alone cannot stand for it."""
    base = Variable if issubclass(kind, Variable) else Header
    return vars(base)["parse"] is not next(
        vars(c)["parse"] for c in kind.__mro__ if "parse" in vars(c)
    ) or any(
        getattr(kind, name) is not getattr(Header, name)
        for name in ("header_length", "reach", "check")
    )


def _field(kind: type[Header], name: str) -> list[int]:
    field: Field = getattr(kind, name)
    first, end = field.bit_offset // 8, -(-(field.bit_offset + field.bits) // 8)
    shift = 8 * end - field.bit_offset - field.bits
    return [first, end - first, shift, (1 << field.bits) - 1]


def _span(kind: type[Header], span: Span | None) -> list[int]:
    if span is None:
        return [kind.size, 0]
    return [span.base, span.scale, *(n for name in span.fields for n in _field(kind, name))]


@lru_cache(maxsize=4)
def rules(roce_port: int) -> Rules:
    """The rules, RoCEv2 being found on `roce_port` too."""
    header = np.zeros((len(HEADERS), WIDTH), np.int64)
    mask = np.zeros((len(HEADERS), MASK_SIZE), np.uint8)
    following: list[tuple[int, int]] = []
    store = 0
    for number, kind in enumerate(HEADERS):
        parts = {SIZE: [kind.size, store, is_hard(kind)]}
        store += kind.size
        if kind in ADDRESSES:
            source = ADDRESSES[kind]
            parts[ADDRESS] = [source.bit_offset // 8, source.bits // 8]
        parts[LENGTH] = _span(kind, kind.LENGTH)
        parts[EXTENT] = _span(kind, kind.EXTENT)
        parts[LIMITS] = [n for name, ends in kind.LIMITS.items()
                         for n in (*_field(kind, name), *ends)]  # fmt: skip
        if kind in FOLLOWS:
            name, kinds = FOLLOWS[kind]
            start = len(following)
            if kind is UDP:
                following.append((roce_port, NUMBERS[BTH]))
            following += [(value, NUMBERS[after]) for value, after in kinds.items()]
            parts[FOLLOW] = [*_field(kind, name), start, len(following)]
        if hasattr(kind, "fragment"):
            parts[FRAGMENT] = [*_field(kind, "mf"), *_field(kind, "fragment_offset")]
        for column, numbers in parts.items():
            header[number, column : column + len(numbers)] = numbers
        mask[number, : kind.size] = np.frombuffer(ones(kind), np.uint8)
    opcodes = np.full((256, 8), -1, np.int64)
    for value, opcode in enumerate(BY_VALUE):
        if opcode is not None:
            headers = [NUMBERS[after] for after in opcode.headers]
            opcodes[value, : len(headers) + 1] = [len(headers), *headers]
    return Rules(header, np.array(following), mask, opcodes)


def first_headers(link_types: list[int]) -> Array:
    """First header of a frame by link type and first byte, shape (link types, 257)."""
    numbers: dict[Any, int] = {None: -1, **NUMBERS}
    table = np.full((max(1, len(link_types)), EMPTY + 1), -1, np.int64)
    for row, link_type in enumerate(link_types):
        for byte in range(EMPTY):
            table[row, byte] = numbers[first_header(link_type, bytes([byte]))]
        table[row, EMPTY] = numbers[first_header(link_type, b"")]
    return table
