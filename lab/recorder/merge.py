"""Several captures made into one, in the order of time."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import captures
from captures.model import Frame
from captures.pcapng_writer import Writer


def merge(sources: Sequence[Path], target: Path) -> None:
    """Write the frames of `sources`, each with its first interface's name, into one pcapng.

    A source that is not there or is empty is left out (whoever wrote it was killed early).
    """
    with ExitStack() as closing, target.open("wb") as stream:
        writer = Writer(stream)
        streams = []
        for number, source in enumerate(
            path for path in sources if path.exists() and path.stat().st_size
        ):
            capture = closing.enter_context(captures.open(source))
            streams.append(_numbered(number, capture.frames()))
            writer.interface(source.stem)
        for time_ns, number, frame in heapq.merge(*streams, key=lambda entry: entry[0]):
            writer.packet(
                frame.data, time_ns, interface=number, original_length=frame.original_length
            )


def _numbered(number: int, frames: Iterator[Frame]) -> Iterator[tuple[int, int, Frame]]:
    return ((frame.time_ns, number, frame) for frame in frames)
