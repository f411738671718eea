"""A capture rewritten as pcapng with its decryption secrets inside."""

from __future__ import annotations

import itertools
from pathlib import Path

from captures.capture import open as open_capture
from captures.pcapng_writer import Writer


def to_pcapng(
    source: str | Path,
    target: str | Path,
    *,
    key_log: str = "",
    received: int | None = None,
    dropped: int | None = None,
    name: str = "",
    filter: str = "",  # noqa: A002
    comment: str = "",
) -> int:
    """Copy a capture to a pcapng with the key log inside; the number of packets copied.

    Streams, so memory does not grow with the file; `target` appears whole or not at all. A torn
    end of `source` is left out. `name` and `filter` describe the first interface. Raises
    CaptureError for a source that is no capture, OSError for a target that cannot be written.
    """
    part = Path(f"{target}.part")
    try:
        with open_capture(source) as capture, part.open("wb") as stream:
            writer = Writer(stream, comment=comment)
            writer.secrets(key_log or capture.secrets)
            frames = capture.frames()
            numbers: dict[int, int] = {}
            last_ns = 0
            first = next(frames, None)
            for frame in itertools.chain([first] if first else [], frames):
                if frame.interface not in numbers:
                    known = capture.interfaces[frame.interface]
                    numbers[frame.interface] = writer.interface(
                        known.name or (name if not numbers else ""),
                        link_type=known.link_type,
                        snap_length=known.snap_length,
                        filter=known.filter or (filter if not numbers else ""),
                    )
                writer.packet(
                    frame.data,
                    max(frame.time_ns, 0),
                    interface=numbers[frame.interface],
                    original_length=frame.original_length,
                    comment=frame.comment,
                )
                last_ns = max(frame.time_ns, 0)
            if not numbers:
                writer.interface(name, filter=filter)
            if received is not None or dropped is not None:
                writer.statistics(time_ns=last_ns, received=received, dropped=dropped)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return writer.packets
