"""Frames of the sample captures, read without our own capture reader: these tests stand below
it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "captures" / "samples"
FILES = sorted(SAMPLES.glob("*.pcap"))


def frames(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number, original length, bytes) of every frame of a little-endian pcap file."""
    data = path.read_bytes()
    assert data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"), path
    assert struct.unpack_from("<I", data, 20) == (1,), "Ethernet"
    offset, number = 24, 0
    while offset < len(data):
        captured, original = struct.unpack_from("<8xII", data, offset)
        number += 1
        yield number, original, data[offset + 16 : offset + 16 + captured]
        offset += 16 + captured
