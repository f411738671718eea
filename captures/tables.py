"""Packet tables of a capture: of the whole of it, or in parts of bounded size."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from captures.files import open_regular
from captures.model import CaptureError, Contents, Frame
from captures.stream import Stream
from captures.unpack import kind_of
from dissectors.rules import Spread
from dissectors.table import PacketTable

if TYPE_CHECKING:
    from captures.capture import Capture
    from captures.index import Places

Array = np.ndarray[Any, np.dtype[Any]]
Result = TypeVar("Result")

LARGE = 1 << 20
"""Bytes from which on a file is worth loading compiled code for."""

FRAMES = 1 << 14
BYTES = 1 << 24
"""Frames, and bytes of them, that are read one by one before they become a table."""

ROW = 400
"""Bytes of memory that a packet of a table takes, and what it is judged by."""

SHARE = 0.5
"""How much of the free space of its folder a temporary file may take."""

THREADS = 4
"""Parts of a mapped file that are at work at a time, at most: each is held in memory."""


def whole(capture: Capture, roce_port: int) -> PacketTable:
    """All packets of `capture`; what is compressed is unpacked into a temporary file."""
    with _plain(capture) as (file, failure):
        contents = capture.begin()
        stream = Stream(capture.file, file, failure=failure)
        indexed = _indexed(stream, file, contents)
        if indexed is None:
            table = PacketTable.from_frames(capture.reader(stream, contents), roce_port)
        else:
            from captures.index import bring_near  # noqa: PLC0415 - loads compiled code

            data, batches = indexed
            with ThreadPoolExecutor() as threads:
                threads.submit(bring_near, data)
                columns = zip(*_held(capture, batches), strict=True)
                places = [np.concatenate(each) for each in columns]
                table = _table(data, places, contents, 1, roce_port, spread=threads.map)
        capture.end()
        return table


def _held(capture: Capture, batches: Iterator[Places]) -> Iterator[Places]:
    """`batches`; raises CaptureError where they are more than memory holds as a table."""
    most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // ROW
    count = 0
    for places in batches:
        count += len(places.position)
        if count > most:
            raise CaptureError(
                capture.file,
                int(places.position[0]),
                f"at most {most} packets, which is what this machine's memory holds at once",
                "more",
                "count them with rocelab decode --stats, or take a part with --filter and -w",
            )
        yield places


def parts(
    capture: Capture, roce_port: int, use: Callable[[PacketTable], Result]
) -> Iterator[Result]:
    """What `use` makes of each part of `capture`, in order, in bounded memory; it is called in
    threads where compiled code reads the file.
    """
    if capture.file != "-":
        with open_regular(capture.file) as file:
            contents = capture.begin()
            indexed = _indexed(Stream(capture.file, file), file, contents)
        if indexed is not None:
            yield from _mapped_parts(*indexed, contents, roce_port, use)
            capture.end()
            return
    for batch in _gathered(capture.frames()):
        yield use(PacketTable.from_frames(batch, roce_port))


def _mapped_parts(
    data: Array,
    batches: Iterator[Places],
    contents: Contents,
    roce_port: int,
    use: Callable[[PacketTable], Result],
) -> Iterator[Result]:
    from captures.index import forget  # noqa: PLC0415 - loads compiled code

    def begin(places: Places, number: int) -> Future[Result]:
        return threads.submit(lambda: use(_table(data, places, contents, number, roce_port)))

    number, forgotten = 1, 0
    threads = ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1))
    begun: deque[tuple[int, Future[Result]]] = deque()
    try:
        for places in batches:
            if not len(places.position):
                # Whatever there is instead of packets; parts at work look at theirs again.
                forget(data, forgotten, len(data))
                continue
            begun.append((int(places.position[0]), begin(places, number)))
            number += len(places.position)
            if len(begun) > THREADS:
                _, first = begun.popleft()
                yield first.result()
                forgotten = forget(data, forgotten, begun[0][0])
        for _, last in begun:
            yield last.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _gathered(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    size = 0
    for frame in frames:
        batch.append(frame)
        size += len(frame.data)
        if len(batch) == FRAMES or size >= BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _table(
    data: Array,
    places: Places | list[Array],
    contents: Contents,
    number: int,
    roce_port: int,
    *,
    spread: Spread = map,
) -> PacketTable:
    """The table of frames in a mapped file, the first of which is `number`."""
    position, captured, original, interface, time_ns = places
    place = {
        "frame": np.arange(number, number + len(position), dtype=np.uint64),
        "time_ns": time_ns,
        "offset": position,
        "captured_length": captured,
        "original_length": original,
        "interface": interface,
    }
    kinds = np.array([each.link_type for each in contents.interfaces] or [0], np.uint32)
    return PacketTable.from_buffer(
        data, position, place, kinds[interface], roce_port, spread=spread
    )


def _indexed(
    stream: Stream, file: BinaryIO, contents: Contents
) -> tuple[Array, Iterator[Places]] | None:
    """What `captures.index` makes of a file; None where that is not worth it, or not possible."""
    large = file.seek(0, 2) >= LARGE
    file.seek(0)
    if not large:
        return None
    from captures.index import batches  # noqa: PLC0415 - loads compiled code

    return batches(stream, file, contents)


@contextmanager
def _plain(capture: Capture) -> Iterator[tuple[BinaryIO, str]]:
    """The uncompressed capture as a file, and why its bytes ended early ("" where they did not)."""
    if capture.file != "-":
        with open_regular(capture.file) as file:
            if kind_of(file.peek()) is None:
                yield file, ""
                return
    with tempfile.TemporaryFile() as unpacked:
        most = int(shutil.disk_usage(tempfile.gettempdir()).free * SHARE)
        with capture.take() as stream:
            while data := stream.read(1 << 20):
                unpacked.write(data)
                if stream.offset > most:
                    raise CaptureError(
                        capture.file,
                        stream.offset,
                        f"at most {most} bytes when unpacked: half of what is free in"
                        f" {tempfile.gettempdir()}",
                        "more",
                        "unpack it where there is room, or let TMPDIR name such a folder",
                    )
        unpacked.flush()
        yield unpacked, stream.failure
