"""`rocelab decode`: frames of a capture, those selected, in the form asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import captures
from analysis.listing import lines
from analysis.listing.errors import ListingError
from captures.model import Frame
from captures.pcapng_writer import Writer
from dissectors.packet import Packet
from dissectors.udp import ROCE_PORT

__all__ = ["ListingError", "Options", "decode"]

BATCH = 1000
"""Frames filtered at a time."""


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
    if options.stats:
        from analysis.listing import stats  # noqa: PLC0415 - loads numpy

        document = stats.counts(capture, capture.table(options.roce_port))
        as_json = options.form == "json"
        out.write((json.dumps(document, indent=2) if as_json else stats.text(document)) + "\n")
        return
    frames = islice(_selected(capture, options), options.count)
    with ExitStack() as stack:
        if options.write is not None:
            file = stack.enter_context(options.write.open("wb"))
            _copy(capture, frames, Writer(file))
            return
        for text in _fields(frames, options) if options.fields else _texts(frames, options):
            out.write(text + "\n")


def _selected(capture: captures.Capture, options: Options) -> Iterator[Frame]:
    if not options.expression:
        yield from capture.frames()
        return
    # Imported here: without a filter no table is needed, and a few frames come out at once.
    from analysis.listing.selection import select  # noqa: PLC0415
    from dissectors.table import PacketTable  # noqa: PLC0415

    for batch in _batches(capture.frames()):
        mask = select(PacketTable.from_frames(batch, options.roce_port), options.expression)
        yield from (frame for frame, wanted in zip(batch, mask, strict=True) if wanted)


def _batches(frames: Iterator[Frame]) -> Iterator[tuple[Frame, ...]]:
    while batch := tuple(islice(frames, BATCH)):
        yield batch


def _texts(frames: Iterator[Frame], options: Options) -> Iterator[str]:
    start_ns = None
    for frame in frames:
        start_ns = frame.time_ns if start_ns is None else start_ns
        packet = Packet.parse(frame.data, frame.link_type, frame.original_length, options.roce_port)
        if options.form == "json":
            yield json.dumps(lines.as_dict(frame, packet))
            continue
        yield lines.line(frame, packet, start_ns)
        if options.form == "tree":
            yield packet.tree() + "\n"
        if options.hex:
            yield lines.hexdump(frame.data) + "\n"


def _fields(frames: Iterator[Frame], options: Options) -> Iterator[str]:
    """Values of the fields asked for with tabs between, empty where there is none."""
    from analysis.listing.names import column  # noqa: PLC0415 - loads numpy
    from dissectors.table import PacketTable  # noqa: PLC0415

    wanted = [column(name) for name in options.fields]
    for batch in _batches(frames):
        table = PacketTable.from_frames(batch, options.roce_port)
        for row in range(len(table)):
            yield "\t".join(table.text(name, row) for name in wanted)


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
