"""Where the frames of an uncompressed file lie, found by compiled code over the mapped file.

Runs of packets are walked by the kernels here. What is not a plain packet is read by the formats'
own readers, which also say what is damage: both ways of reading find the same.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from captures import erf, pcap, pcapng
from captures.model import MAX_FRAME, NANOSECONDS, TIME_LIMIT, Contents, Frame, Interface
from captures.stream import Stream
from dissectors.compiled import compiled
from dissectors.erf import SUBHEADERS, TYPE_PAD
from dissectors.memory import byte, half, prefetch, set_half, set_word, word

Array = np.ndarray[Any, np.dtype[Any]]

AHEAD = 4
"""Frames of the same length that are brought near before they come: often they do."""

AROUND = 1 << 16
"""Bytes that Linux maps at a fault, when it has them."""

ROWS = 1 << 15
WINDOW = 1 << 24
"""Frames, and bytes of the file, in a batch: what bounds the memory of reading in batches."""

SIMPLE, ENHANCED = pcapng.SIMPLE_PACKET, pcapng.ENHANCED_PACKET
OBSOLETE, MAX_BLOCK = pcapng.OBSOLETE_PACKET, pcapng.MAX_BLOCK
PORT, PAD = erf.PORT, TYPE_PAD


class Places(NamedTuple):
    """A row per frame: offset of its first byte, captured and original length (bytes), the
    interface, and the time (UTC nanoseconds since 1970).
    """

    position: Array
    captured: Array
    original: Array
    interface: Array
    time_ns: Array

    @classmethod
    def room(cls, rows: int) -> Places:
        """Room for `rows` frames."""
        return cls(*(np.empty(rows, kind) for kind in ("i8", "u4", "u4", "u4", "i8")))

    def set(self, row: int, frame: Frame) -> None:
        """Fill a row with the place of `frame`."""
        found = (frame.offset, len(frame.data), frame.original_length, frame.interface)
        for column, value in zip(self, (*found, frame.time_ns), strict=True):
            column[row] = value

    def first(self, rows: int) -> Places:
        """The first `rows` frames."""
        return Places(*(column[:rows] for column in self))

    @property
    def addresses(self) -> tuple[int, ...]:
        """Where the columns lie in memory, for the kernels."""
        return tuple(column.ctypes.data for column in self)


@compiled
def _u32(at: Any, big: Any) -> Any:
    value = half(at)
    if big:
        return value << 24 & 0xFF000000 | value << 8 & 0xFF0000 | value >> 8 & 0xFF00 | value >> 24
    return value


@compiled
def _put(row: Any, to: Any, position: Any, captured: Any, original: Any, interface: Any,
         time: Any) -> Any:  # fmt: skip
    set_word(to[0] + 8 * row, position)
    set_half(to[1] + 4 * row, captured)
    set_half(to[2] + 4 * row, original)
    set_half(to[3] + 4 * row, interface)
    set_word(to[4] + 8 * row, time)


@compiled
def _records(data: Any, size: Any, at: Any, end: Any, big: Any, scale: Any, rows: Any,
             to: Any) -> Any:  # fmt: skip
    """Records of a pcap file of `size` bytes at address `data`, while they are whole and begin
    before offset `end`: the columns at the addresses `to` filled from row 0 to at most `rows`; the
    number found, and the offset behind them.
    """
    row = 0
    while row < rows and at < end and at + 16 <= size:
        record = data + at
        captured = _u32(record + 8, big)
        if captured > MAX_FRAME or at + 16 + captured > size:
            break
        time = _u32(record, big) * NANOSECONDS + _u32(record + 4, big) * scale
        _put(row, to, at + 16, captured, _u32(record + 12, big), 0, time)
        row += 1
        at += 16 + captured
        prefetch(data + at + AHEAD * (16 + captured))
    return row, at


@compiled
def _packets(data: Any, size: Any, at: Any, end: Any, big: Any, first: Any, count: Any, snap: Any,
             row: Any, rows: Any, to: Any) -> Any:  # fmt: skip
    """As `_records`, from `row` on, of the packet blocks of a pcapng section with `count`
    interfaces. Its first one is number `first` of the file and cuts simple packets at `snap`
    (0: not at all; -1: stop at those). Times are left in ticks.
    """
    while row < rows and at < end and at + 12 <= size:
        block = data + at
        kind, total = _u32(block, big), _u32(block + 4, big)
        head = 16 if kind == SIMPLE else 32
        if kind not in (SIMPLE, ENHANCED, OBSOLETE) or (
            total < head or total % 4 != 0 or total > MAX_BLOCK or at + total > size
        ):
            break
        room = total - head
        interface, time = 0, 0
        if kind == SIMPLE:
            original = _u32(block + 8, big)
            captured = min(original, room, snap if snap > 0 else original)
            if snap < 0:
                break
        else:
            interface = _u32(block + 8, big)
            if kind == OBSOLETE:
                interface = interface >> 16 if big else interface & 0xFFFF
            time = _u32(block + 12, big) << 32 | _u32(block + 16, big)
            captured, original = _u32(block + 20, big), _u32(block + 24, big)
        if (
            interface >= count
            or captured > min(room, MAX_FRAME)
            or _u32(block + total - 4, big) != total
        ):
            break
        _put(row, to, at + head - 4, captured, original, first + interface, time)
        row += 1
        at += total
        prefetch(data + at + AHEAD * total)
    return row, at


@compiled
def _erf_records(data: Any, size: Any, at: Any, end: Any, ports: Any, between: Any, row: Any,
                 rows: Any, to: Any) -> Any:  # fmt: skip
    """As `_records`, from `row` on, of an ERF file, while the records are of capture ports whose
    interface is known: `ports` is the address of four, -1 for unknown; `between` that of the bytes
    before the packet for each type of record.
    """
    while row < rows and at < end and at + 16 <= size:
        record = data + at
        kind, port = byte(record + 8), word(ports + 8 * (byte(record + 9) & PORT))
        length = byte(record + 10) << 8 | byte(record + 11)
        if length < 16 or at + length > size or port < 0:
            break
        if kind != PAD:
            before, more = 16, kind >> 7
            while more and before < length:
                more = byte(record + before) >> 7
                before += 8
            original = before + byte(between + (kind & 0x7F))
            original += byte(record + 14) << 8 | byte(record + 15)
            fraction = half(record) * NANOSECONDS + (1 << 31) >> 32
            time = half(record + 4) * NANOSECONDS + fraction
            _put(row, to, at, min(length, original), original, port, time)
            row += 1
        at += length
        prefetch(data + at + AHEAD * length)
    return row, at


@compiled
def _touch(data: Any, size: Any) -> Any:
    total = 0
    for at in range(0, size, AROUND):
        total += byte(data + at)
    return total


def bring_near(data: Array) -> None:
    """Have a mapped file's bytes mapped before they are asked for, in a thread beside."""
    _touch(data.ctypes.data, len(data))


def _pcap(stream: Stream, data: Array, contents: Contents) -> Iterator[Places]:
    order = pcap.read_header(stream, contents)
    scale = NANOSECONDS // contents.interfaces[0].ticks_per_second
    at, rows, end = stream.offset, ROWS, 0
    while rows == ROWS or at >= end:
        places, end = Places.room(ROWS), at + WINDOW
        rows, at = _records(
            data.ctypes.data, len(data), at, end, order == ">", scale, ROWS, places.addresses
        )
        yield places.first(rows)
    stream.seek(at)
    pcap.read_record(stream, contents, order, 0)


def _pcapng(stream: Stream, data: Array, contents: Contents) -> Iterator[Places]:
    section: pcapng.Section | None = None
    found = pcapng.step(stream, contents, None, 0)
    while found is not None:
        places, rows, end = Places.room(ROWS), 0, stream.offset + WINDOW
        times = []
        while found is not None:
            if isinstance(found, Frame):
                times.append((rows, found.time_ns))
                places.set(rows, found)
                # Ticks of the others become times when all are there; this one has its time.
                places.time_ns[rows] = 0
                rows += 1
            else:
                section = found
            assert section is not None, "a file begins with a section"
            first = section.first_interface
            rows, at = _packets(
                data.ctypes.data, len(data), stream.offset, end, section.order == ">",
                first, len(contents.interfaces) - first, _simple(contents.interfaces, first),
                rows, ROWS, places.addresses,
            )  # fmt: skip
            stream.seek(at)
            if rows == ROWS or at >= end:
                found = section
                break
            found = pcapng.step(stream, contents, section, 0)
        places = places.first(rows)
        _set_times(places, contents.interfaces)
        for place, time_ns in times:
            places.time_ns[place] = time_ns
        yield places


def _erf(stream: Stream, data: Array, contents: Contents) -> Iterator[Places]:
    ports: dict[int, int] = {}
    interface = np.full(4, -1, np.int64)
    between = np.zeros(128, np.uint8)
    between[list(SUBHEADERS)] = list(SUBHEADERS.values())
    found = erf.read_frame(stream, contents, ports, 0)
    while found is not None:
        places, rows, end = Places.room(ROWS), 0, stream.offset + WINDOW
        while found is not None and rows < ROWS and stream.offset < end:
            places.set(rows, found)
            interface[list(ports)] = list(ports.values())
            rows, at = _erf_records(
                data.ctypes.data, len(data), stream.offset, end, interface.ctypes.data,
                between.ctypes.data, rows + 1, ROWS, places.addresses,
            )  # fmt: skip
            stream.seek(at)
            found = erf.read_frame(stream, contents, ports, 0)
        yield places.first(rows)


def _simple(interfaces: list[Interface], first: int) -> int:
    """Snap length of simple packets, which are of a section's `first` interface. -1 where there is
    none, or one whose time does not begin at 0, which is the time of a packet without one.
    """
    if first == len(interfaces) or interfaces[first].offset_seconds:
        return -1
    return interfaces[first].snap_length


def _set_times(places: Places, interfaces: list[Interface]) -> None:
    """Turn ticks into nanoseconds, in place."""
    for number in np.unique(places.interface).tolist():
        rows = places.interface == number
        ticks = places.time_ns[rows].view(np.uint64)
        places.time_ns[rows] = _times(ticks, interfaces[number])


def _times(ticks: Array, interface: Interface) -> Array:
    scale, rest = divmod(NANOSECONDS, interface.ticks_per_second)
    offset = interface.offset_seconds * NANOSECONDS
    if rest == 0 and int(ticks.max()) * scale + abs(offset) <= TIME_LIMIT:
        return ticks.astype(np.int64) * scale + offset
    # Exact where numpy's integers would overflow or round.
    return np.array([interface.time_ns(tick) for tick in ticks.tolist()], np.int64)


WALKS = {**dict.fromkeys(pcap.MAGICS, _pcap), b"\x0a\x0d\x0d\x0a": _pcapng}


def batches(
    stream: Stream, file: BinaryIO, contents: Contents
) -> tuple[Array, Iterator[Places]] | None:
    """The bytes of the uncompressed capture `file`, and where its frames lie, in batches.

    None where the file is of another format. `contents` is filled on the way. The iterator raises
    CaptureError as the readers do. The file must not be cut short while the bytes are in use.
    """
    if os.fstat(file.fileno()).st_size == 0:
        return None
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    walk = WALKS.get(mapped[:4])
    if walk is None and erf.looks_like(Stream(stream.file, mapped)):
        walk = _erf
        mapped.seek(0)
    if walk is None:
        return None
    data = np.frombuffer(mapped, np.uint8)
    # Read from what is mapped: the file may have grown since.
    beginning = Stream(stream.file, mapped, failure=stream.failure, size=lambda: len(mapped))
    return data, walk(beginning, data, contents)


def forget(data: Array, start: int, end: int) -> int:
    """Give back the memory in which a mapped file's bytes from `start` up to about `end` were
    looked at; they stay readable. Where to go on from.
    """
    first, last = (at // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
                   for at in (start, end))  # fmt: skip
    if last > first and hasattr(mmap, "MADV_DONTNEED"):
        view: Any = data.base
        view.obj.madvise(mmap.MADV_DONTNEED, first, last - first)
    return last
