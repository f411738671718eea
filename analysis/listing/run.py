"""`rocelab decode`: frames of a capture, those selected, in the form asked for.

What a filter or fields need is taken from tables, a part of the capture at a time; a frame is
parsed by itself only where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import captures
from analysis.listing import lines
from analysis.listing.errors import ListingError
from captures.model import Frame
from captures.pcapng_writer import Writer
from dissectors.packet import Packet
from dissectors.udp import ROCE_PORT

if TYPE_CHECKING:
    from dissectors.table import PacketTable

__all__ = ["ListingError", "Options", "decode"]

BATCH = 1 << 14
"""Frames filtered at a time at most, of those read one by one."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `rocelab decode` was asked for. `form` is line, tree or json; `fields` wins over it."""

    form: str = "line"
    hex: bool = False
    fields: tuple[str, ...] = ()
    expression: str = ""
    write: Path | None = None
    count: int | None = None
    stats: bool = False
    roce_port: int = ROCE_PORT


def decode(capture: captures.Capture, options: Options, out: TextIO) -> None:
    """Write the selected frames to `out`, or to the file named.

    Raises ListingError, CaptureError, OSError.
    """
    if options.count is not None and options.count < 0:
        raise ListingError(f"--count: expected 0 or more, found {options.count}")
    if options.stats:
        from analysis.listing import stats  # noqa: PLC0415 - loads numpy

        document = stats.counts(capture, options.roce_port, _chooser(options))
        as_json = options.form == "json"
        out.write((json.dumps(document, indent=2) if as_json else stats.text(document)) + "\n")
        return
    if options.fields and options.write is None:
        out.writelines(text + "\n" for text in _fields(capture, options))
        return
    frames = capture.frames()
    first = tuple(islice(frames, 1))
    start_ns = first[0].time_ns if first else 0
    frames = islice(_selected(capture, chain(first, frames), options), options.count)
    if options.write is not None:
        _refuse_own(capture.file, options.write)
        with options.write.open("wb") as file:
            _copy(capture, frames, Writer(file))
        return
    for text in _texts(frames, start_ns, options):
        out.write(text + "\n")


def _refuse_own(source: str, target: Path) -> None:
    """Writing begins by emptying the file, which must not be the one that is read."""
    if source != "-" and target.exists() and target.samefile(source):
        raise ListingError(f"{target}: expected another file to write than the one read")


def _selected(
    capture: captures.Capture, frames: Iterator[Frame], options: Options
) -> Iterator[Frame]:
    """Those of `frames`, which are all of the capture, that are wanted."""
    if not options.expression:
        yield from frames
    elif options.write is None and capture.file != "-":
        for table in _tables(capture, options):
            yield from (_frame(table, row) for row in range(len(table)))
    else:
        # Comments, which are written too, are in no table; standard input is read once.
        choose = _chooser(options)
        for batch in _batches(frames):
            wanted = set(choose(_table(batch, options))["frame"].tolist())
            yield from (frame for frame in batch if frame.number in wanted)


def _tables(capture: captures.Capture, options: Options) -> Iterator[PacketTable]:
    """The packets selected, in parts."""
    choose = _chooser(options)
    if capture.file == "-":
        # Somebody may wait for the first packets of what is only being recorded.
        yield from (choose(_table(batch, options)) for batch in _batches(capture.frames()))
    else:
        yield from capture.each(choose, options.roce_port)


def _chooser(options: Options) -> Callable[[PacketTable], PacketTable]:
    if not options.expression:
        return lambda table: table
    # Imported here: without a filter no table is needed, and a few frames come out at once.
    from analysis.listing.selection import select  # noqa: PLC0415

    return lambda table: table.select(select(table, options.expression))


def _table(frames: Iterable[Frame], options: Options) -> PacketTable:
    from dissectors.table import PacketTable  # noqa: PLC0415 - loads numpy

    return PacketTable.from_frames(frames, options.roce_port)


def _frame(table: PacketTable, row: int) -> Frame:
    return Frame(
        number=int(table["frame"][row]),
        time_ns=int(table["time_ns"][row]),
        data=table.frame_bytes(row),
        original_length=int(table["original_length"][row]),
        interface=int(table["interface"][row]),
        link_type=table.link_type(row),
        offset=int(table["offset"][row]),
    )


def _batches(frames: Iterator[Frame]) -> Iterator[tuple[Frame, ...]]:
    """Few frames at first, so that what comes slowly is seen soon."""
    size = 1
    while batch := tuple(islice(frames, size)):
        yield batch
        size = min(2 * size, BATCH)


def _texts(frames: Iterator[Frame], start_ns: int, options: Options) -> Iterator[str]:
    for frame in frames:
        packet = Packet.parse(frame.data, frame.link_type, frame.original_length, options.roce_port)
        if options.form == "json":
            yield json.dumps(lines.as_dict(frame, packet))
            continue
        yield lines.line(frame, packet, start_ns)
        if options.form == "tree":
            yield packet.tree() + "\n"
        if options.hex:
            yield lines.hexdump(frame.data) + "\n"


def _fields(capture: captures.Capture, options: Options) -> Iterator[str]:
    """Values of the fields asked for with tabs between, empty where there is none."""
    from analysis.listing.columns import Columns  # noqa: PLC0415 - loads numpy
    from analysis.listing.names import column  # noqa: PLC0415

    wanted = [column(name) for name in options.fields]
    lines = (
        "\t".join(row)
        for columns in map(Columns, _tables(capture, options))
        for row in zip(*(columns.texts(name) for name in wanted), strict=True)
    )
    yield from islice(lines, options.count)


def _copy(capture: captures.Capture, frames: Iterator[Frame], writer: Writer) -> None:
    """Write `frames` with their interfaces, comments and secrets."""
    if capture.file != "-" and capture.secrets:
        writer.secrets(capture.secrets)
    numbers: dict[int, int] = {}
    for frame in frames:
        if frame.interface not in numbers:
            interface = capture.interfaces[frame.interface]
            numbers[frame.interface] = writer.interface(
                interface.name, link_type=interface.link_type, snap_length=interface.snap_length
            )
        writer.packet(
            frame.data,
            max(frame.time_ns, 0),
            interface=numbers[frame.interface],
            original_length=frame.original_length,
            comment=frame.comment,
        )
