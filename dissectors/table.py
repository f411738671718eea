"""PacketTable: a row per packet, a column per header field.

A header's bytes of all rows lie together (`rows x size`); its columns are cut out of them when
first asked for, so a header no packet carries and a column nobody reads cost nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dissectors.aeth import AETH
from dissectors.arp import ARP
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.carriers import carriers, first_header
from dissectors.deth import DETH
from dissectors.erf import ERF
from dissectors.ethernet import VLAN, Ethernet
from dissectors.feth import FETH
from dissectors.gre import GRE
from dissectors.grh import GRH
from dissectors.header import Data, Field, Header, Tail
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.loopback import Loopback
from dissectors.lrh import LRH
from dissectors.packet import Packet
from dissectors.pause import PFC, MACControl, Pause
from dissectors.rdeth import RDETH
from dissectors.reth import RETH
from dissectors.sll import SLL, SLL2
from dissectors.tcp import TCP
from dissectors.transport import parse_transport
from dissectors.udp import ROCE_PORT, UDP
from dissectors.vxlan import VXLAN
from dissectors.xrceth import XRCETH

if TYPE_CHECKING:
    import polars
    import pyarrow

Array = np.ndarray[Any, np.dtype[Any]]
Rows = Array | slice | list[int]

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

BASE: dict[str, str] = {
    "frame": "u8",
    "time_ns": "i8",
    "offset": "i8",
    "captured_length": "u4",
    "original_length": "u4",
    "interface": "u4",
    "headers": "u8",
    "src": "V16",
    "dst": "V16",
    "payload_offset": "u4",
    "payload_length": "u4",
    "icrc_status": "u1",
    "damage": "u1",
}
"""Columns every packet has, with their dtypes."""

V4_MAPPED = bytes(10) + b"\xff\xff"


class FrameLike(Protocol):
    """What the table needs to know of a frame (`captures.Frame` is one)."""

    @property
    def number(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def original_length(self) -> int: ...
    @property
    def interface(self) -> int: ...
    @property
    def link_type(self) -> int: ...
    @property
    def offset(self) -> int: ...


FIELDS: dict[str, Field] = {
    field.column: field for header in HEADERS for field in header.fields if type(field) is not Tail
}
"""Column name -> the header field it holds."""


def dtype(field: Field) -> np.dtype[Any]:
    """The column type of a field: the smallest unsigned integer, or V<n> for n bytes."""
    if isinstance(field, Data):
        return np.dtype(f"V{field.bits // 8}")
    return np.dtype(f"u{next(size for size in (1, 2, 4, 8) if field.bits <= 8 * size)}")


def cut(rows: Array, field: Field) -> Array:
    """The column of `field` from a header's bytes, shape (packets, header size) -> (packets,)."""
    first, end = field.bit_offset // 8, -(-(field.bit_offset + field.bits) // 8)
    if isinstance(field, Data):
        return np.ascontiguousarray(rows[:, first:end]).view(dtype(field))[:, 0]
    value = np.zeros(len(rows), np.uint64)
    for byte in range(first, end):
        value = value << np.uint64(8) | rows[:, byte]
    value >>= np.uint64(8 * end - field.bit_offset - field.bits)
    return (value & np.uint64((1 << field.bits) - 1)).astype(dtype(field))


class PacketTable:
    """Columns by name (`table["bth_psn"]`), all of `len(table)` rows; see ARCHITECTURE.md."""

    def __init__(
        self,
        *,
        base: dict[str, Array],
        headers: dict[type[Header], Array],
        buffer: Array,
        positions: Array,
        link_types: Array,
        roce_port: int = ROCE_PORT,
    ) -> None:
        self._base = base
        self._headers = headers
        self._buffer = buffer
        self._positions = positions
        self._link_types = link_types
        self._cut: dict[str, Array] = {}
        self.roce_port = roce_port

    @classmethod
    def from_frames(cls, frames: Iterable[FrameLike], roce_port: int = ROCE_PORT) -> PacketTable:
        """A table of frames held in memory."""
        rows = []
        carried: dict[type[Header], list[tuple[int, bytes]]] = {kind: [] for kind in HEADERS}
        data = []
        for number, frame in enumerate(frames):
            packet = Packet.parse(frame.data, frame.link_type, frame.original_length, roce_port)
            mask = 0
            src = dst = bytes(16)
            for header in packet.headers:
                kind = type(header)
                mask |= 1 << HEADERS.index(kind)
                carried[kind].append((number, header.pack()[: kind.size]))
                src, dst = _addresses(header) or (src, dst)
            data.append(frame.data)
            rows.append(
                (
                    frame.number,
                    frame.time_ns,
                    frame.offset,
                    len(frame.data),
                    frame.original_length,
                    frame.interface,
                    mask,
                    src,
                    dst,
                    *_payload(frame, roce_port),
                    packet.icrc_status,
                    packet.damage.code if packet.damage else 0,
                    frame.link_type,
                )
            )
        table = np.array(rows, [*BASE.items(), ("link_type", "u4")])
        headers = {}
        for kind, found in carried.items():
            if found:
                headers[kind] = np.zeros((len(rows), kind.size), np.uint8)
                for number, raw in found:
                    headers[kind][number] = np.frombuffer(raw, np.uint8)
        return cls(
            base={name: np.ascontiguousarray(table[name]) for name in BASE},
            headers=headers,
            buffer=np.frombuffer(b"".join(data), np.uint8),
            positions=np.cumsum([0, *(len(piece) for piece in data)])[:-1],
            link_types=table["link_type"],
            roce_port=roce_port,
        )

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, the same for every table."""
        return (*BASE, *FIELDS)

    def __getitem__(self, name: str) -> Array:
        """A column; KeyError for a name that is none. Do not write to it."""
        if name in self._base:
            return self._base[name]
        if name not in self._cut:
            field = FIELDS[name]
            rows = self._headers.get(field.header)
            self._cut[name] = (
                np.zeros(len(self), dtype(field)) if rows is None else cut(rows, field)
            )
        return self._cut[name]

    def has(self, kind: type[Header]) -> Array:
        """Which rows carry a header of class `kind`, as booleans."""
        return (self["headers"] >> np.uint64(HEADERS.index(kind)) & np.uint64(1)).astype(bool)

    def select(self, rows: Rows) -> PacketTable:
        """The table of some rows, given as a boolean mask, row numbers or a slice."""
        return PacketTable(
            base={name: column[rows] for name, column in self._base.items()},
            headers={kind: raw[rows] for kind, raw in self._headers.items()},
            buffer=self._buffer,
            positions=self._positions[rows],
            link_types=self._link_types[rows],
            roce_port=self.roce_port,
        )

    def source(self, row: int) -> str:
        """Innermost source IP address or GID of a row as text, "" where it has none."""
        return self._address("src", row)

    def destination(self, row: int) -> str:
        """Innermost destination IP address or GID of a row as text, "" where it has none."""
        return self._address("dst", row)

    def _address(self, column: str, row: int) -> str:
        if not int(self["headers"][row]) & _NETWORK:
            return ""
        address = ipaddress.IPv6Address(bytes(self[column][row]))
        return str(address.ipv4_mapped or address)

    def frame_bytes(self, row: int) -> bytes:
        """The captured bytes of a row's frame."""
        start = int(self._positions[row])
        return self._buffer[start : start + int(self["captured_length"][row])].tobytes()

    def packet(self, row: int) -> Packet:
        """A row's frame parsed."""
        return Packet.parse(
            self.frame_bytes(row),
            int(self._link_types[row]),
            int(self["original_length"][row]),
            self.roce_port,
        )

    def __iter__(self) -> Iterator[Packet]:
        return (self.packet(row) for row in range(len(self)))

    def to_arrow(self) -> pyarrow.Table:
        """All columns as an Arrow table; a field is null where its header is not carried."""
        import pyarrow as pa  # noqa: PLC0415 - slow to load, and most callers want numpy

        def arrow(name: str) -> Any:
            column = np.ascontiguousarray(self[name])
            present = None if name in BASE else self.has(FIELDS[name].header)
            kind = (
                pa.binary(column.dtype.itemsize)
                if column.dtype.kind == "V"
                else pa.from_numpy_dtype(column.dtype)
            )
            # One bit a row, least significant first, set where there is a value.
            valid = (
                None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))
            )
            return pa.Array.from_buffers(kind, len(column), [valid, pa.py_buffer(column)])

        return pa.table({name: arrow(name) for name in self.columns})

    def to_polars(self) -> polars.DataFrame:
        """All columns as a polars frame, sharing the Arrow table's memory."""
        import polars as pl  # noqa: PLC0415

        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)
        return frame


_NETWORK = sum(1 << HEADERS.index(kind) for kind in (IPv4, IPv6, GRH))


def _addresses(header: Header) -> tuple[bytes, bytes] | None:
    if isinstance(header, IPv4):
        return V4_MAPPED + header.src.to_bytes(4), V4_MAPPED + header.dst.to_bytes(4)
    if isinstance(header, IPv6):
        return header.src, header.dst
    if isinstance(header, GRH):
        return header.sgid, header.dgid
    return None


def _payload(frame: FrameLike, roce_port: int) -> tuple[int, int]:
    """Place and length (on the wire) of what no header covers."""
    length = max(len(frame.data), frame.original_length)
    carried = carriers(frame.data, first_header(frame.link_type, frame.data), length, roce_port)
    if carried.follows is not BTH:
        return carried.start, max(0, carried.end - carried.start)
    transport = parse_transport(frame.data, carried.start, carried.end)
    return transport.payload_offset, transport.payload_length
