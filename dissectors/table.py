"""PacketTable: a row per packet, a column per header field.

A header's bytes of all rows lie together (`rows x size`); its columns are cut out of them when
first asked for, so a header no packet carries and a column nobody reads cost nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dissectors.decode import decode, header_bytes
from dissectors.grh import GRH
from dissectors.header import Data, Field, Header, Tail
from dissectors.ip import IPv4, IPv6
from dissectors.packet import Packet
from dissectors.rules import HEADERS, Frames, Spread
from dissectors.udp import ROCE_PORT

if TYPE_CHECKING:
    import polars
    import pyarrow

Array = np.ndarray[Any, np.dtype[Any]]
Rows = Array | slice | list[int]

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

PLACE = ("frame", "time_ns", "offset", "captured_length", "original_length", "interface")
"""Those that the file says; the others come from the frame's bytes."""


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
    if not len(rows):
        return np.zeros(0, dtype(field))
    if isinstance(field, Data):
        return np.ascontiguousarray(rows[:, first:end]).view(dtype(field))[:, 0]
    width = next(size for size in (1, 2, 4, 8, 16) if end - first <= size)
    # An integer that holds the field and lies within the header: there from its first byte on, or
    # ending with it.
    start = min(first, field.header.size - width)
    if start < 0 or width > 8:
        return _cut_slowly(rows, field)
    whole = np.ndarray(len(rows), f">u{width}", rows, start * rows.strides[1], rows.strides[:1])
    value = whole.astype(f"u{width}")
    if behind := 8 * (start + width) - field.bit_offset - field.bits:
        value >>= value.dtype.type(behind)
    if field.bits < 8 * width:
        value &= value.dtype.type((1 << field.bits) - 1)
    return value.astype(dtype(field), copy=False)


def _cut_slowly(rows: Array, field: Field) -> Array:
    """As `cut`, byte by byte: of a field that no integer within the header holds."""
    value = np.zeros(len(rows), np.uint64)
    end = -(-(field.bit_offset + field.bits) // 8)
    for byte in range(field.bit_offset // 8, end):
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
        covered: Array | None = None,
        roce_port: int = ROCE_PORT,
    ) -> None:
        self._base = base
        self._covered = covered
        self._headers = headers
        self._buffer = buffer
        self._positions = positions
        self._link_types = link_types
        self._cut: dict[str, Array] = {}
        self.roce_port = roce_port

    @classmethod
    def from_frames(cls, frames: Iterable[FrameLike], roce_port: int = ROCE_PORT) -> PacketTable:
        """A table of frames held in memory."""
        data = []
        rows = []
        for frame in frames:
            data.append(frame.data)
            rows.append((frame.number, frame.time_ns, frame.offset, len(frame.data),
                         frame.original_length, frame.interface, frame.link_type))  # fmt: skip
        table = np.array(rows, [(name, BASE[name]) for name in PLACE] + [("link_type", "u4")])
        ends = np.cumsum(table["captured_length"], dtype=np.int64)
        return cls.from_buffer(
            np.frombuffer(b"".join(data), np.uint8),
            ends - table["captured_length"],
            {name: np.ascontiguousarray(table[name]) for name in PLACE},
            table["link_type"],
            roce_port,
        )

    @classmethod
    def from_buffer(
        cls,
        buffer: Array,
        positions: Array,
        place: dict[str, Array],
        link_types: Array,
        roce_port: int = ROCE_PORT,
        *,
        spread: Spread = map,
    ) -> PacketTable:
        """A table of the frames at `positions` of `buffer` (bytes).

        `place` holds the columns named in PLACE, `link_types` a LINKTYPE_ number for each frame;
        `spread` may hand parts of the work to threads.
        Each frame lies in the buffer: the caller has seen to that.
        """
        kinds, link = _numbered(link_types)
        positions = np.asarray(positions, np.int64)
        frames = Frames(positions, place["captured_length"], place["original_length"], link)
        found = decode(buffer, frames, [int(kind) for kind in kinds],
                       roce_port=roce_port, spread=spread)  # fmt: skip
        said = {name: getattr(found, name) for name in BASE if name not in PLACE}
        said |= {name: said[name].view("V16")[:, 0] for name in ("src", "dst")}
        return cls(
            base={name: place[name] if name in PLACE else said[name] for name in BASE},
            headers=header_bytes(found, roce_port),
            buffer=buffer,
            positions=frames.position,
            link_types=link_types,
            covered=found.covered,
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
        if name == "icrc_status" and self._covered is not None:
            self._base[name], self._covered = self._checked(self._covered), None
        if name in self._base:
            return self._base[name]
        if name not in self._cut:
            field = FIELDS[name]
            rows = self._headers.get(field.header)
            self._cut[name] = (
                np.zeros(len(self), dtype(field)) if rows is None else cut(rows, field)
            )
        return self._cut[name]

    def _checked(self, covered: Array) -> Array:
        """The column `icrc_status`: checked when first asked for, since that reads every byte."""
        status = self._base["icrc_status"]
        if not covered.any():
            return status
        from dissectors.check import check  # noqa: PLC0415 - loads compiled code

        return check(
            self._buffer,
            self._positions,
            covered=covered,
            payload_offset=self._base["payload_offset"],
            payload_length=self._base["payload_length"],
            status=status,
        )

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
            covered=None if self._covered is None else self._covered[rows],
            roce_port=self.roce_port,
        )

    def source(self, row: int) -> str:
        """Innermost source IP address or GID of a row as text, "" where it has none."""
        return self._address("src", row)

    def destination(self, row: int) -> str:
        """Innermost destination IP address or GID of a row as text, "" where it has none."""
        return self._address("dst", row)

    def _address(self, column: str, row: int) -> str:
        if not int(self["headers"][row]) & NETWORK:
            return ""
        address = ipaddress.IPv6Address(bytes(self[column][row]))
        return str(address.ipv4_mapped or address)

    def texts(self, name: str) -> list[str]:
        """A column as text: numbers in decimal, addresses as such, "" where there is none."""
        if name in ("src", "dst"):
            return self._addresses(name)
        column, field = self[name], FIELDS.get(name)
        said = (
            [field.text(bytes(value)) for value in column]
            if isinstance(field, Data)
            else [str(value) for value in column.tolist()]
        )
        if field is None:
            return said
        there = self.has(field.header).tolist()
        return [text if has else "" for text, has in zip(said, there, strict=True)]

    def _addresses(self, column: str) -> list[str]:
        known: dict[tuple[bytes, bool], str] = {}
        there = ((self["headers"] & np.uint64(NETWORK)) != 0).tolist()
        keys = list(zip(map(bytes, self[column]), there, strict=True))
        for row, key in enumerate(keys):
            if key not in known:
                known[key] = self._address(column, row)
        return [known[key] for key in keys]

    def frame_bytes(self, row: int) -> bytes:
        """The captured bytes of a row's frame."""
        start = int(self._positions[row])
        return self._buffer[start : start + int(self["captured_length"][row])].tobytes()

    def octets(self, rows: Rows, offset: Any, size: int) -> Array:
        """`size` bytes from `offset` in the frame on (numbers by row), shape (rows, size).

        Raises ValueError where a frame was not captured so far.
        """
        if (self["captured_length"][rows] < offset + size).any():
            raise ValueError(f"expected {size} captured bytes from the offset on in every frame")
        start = self._positions[rows] + np.asarray(offset, np.int64)
        if not len(start):
            return np.empty((0, size), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, size)
        found: Array = windows[start]
        return found

    def link_type(self, row: int) -> int:
        """The LINKTYPE_ number of a row's frame."""
        return int(self._link_types[row])

    def packet(self, row: int) -> Packet:
        """A row's frame parsed."""
        return Packet.parse(
            self.frame_bytes(row),
            self.link_type(row),
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


def _numbered(values: Array) -> tuple[Array, Array]:
    """The different values, and for each value its place among them."""
    if len(values) and (values == values[0]).all():
        return values[:1], np.zeros(len(values), np.uint32)
    kinds, places = np.unique(values, return_inverse=True)
    return kinds, places.astype(np.uint32)


NETWORK = sum(1 << HEADERS.index(kind) for kind in (IPv4, IPv6, GRH))
"""Bits of `headers` of those that have addresses."""
