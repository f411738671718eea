"""The compiled index finds what the reader finds, damage included."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import captures
from captures.index import index
from captures.model import Contents
from tests.dissectors.samples import FILES


def both(path: Path) -> None:
    seen = Contents()
    found = index(str(path), seen)
    assert found is not None
    capture = captures.open(path)
    frames = list(capture.frames())
    assert found.position.tolist() == [frame.offset for frame in frames]
    assert found.captured.tolist() == [len(frame.data) for frame in frames]
    assert found.original.tolist() == [frame.original_length for frame in frames]
    assert found.time_ns.tolist() == [frame.time_ns for frame in frames]
    assert tuple(seen.damage) == capture.damage
    assert tuple(seen.interfaces) == capture.interfaces


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    both(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_byte_orders_and_resolutions(order: str, magic: int, tmp_path: Path) -> None:
    header = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    records = b"".join(
        struct.pack(order + "IIII", 1_700_000_000, n, n, 2 * n) + bytes(n) for n in range(70)
    )
    path = tmp_path / "x.pcap"
    path.write_bytes(header + records)
    both(path)


def test_every_truncation(tmp_path: Path) -> None:
    whole = (FILES[0].read_bytes())[:400]
    path = tmp_path / "x.pcap"
    for length in range(24, len(whole)):
        path.write_bytes(whole[:length])
        both(path)


def test_a_length_that_lies(tmp_path: Path) -> None:
    data = bytearray(FILES[0].read_bytes())
    data[24 + 8 : 24 + 12] = (0xFFFFFFFF).to_bytes(4)
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    both(path)


def test_another_format_is_left_to_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"\x0a\x0d\x0d\x0a" + bytes(40))
    assert index(str(path), Contents()) is None


def test_a_large_file_is_tabled_in_place(tmp_path: Path) -> None:
    sample = FILES[0].read_bytes()
    path = tmp_path / "large.pcap"
    path.write_bytes(sample[:24] + sample[24:] * 120)
    capture = captures.open(path)
    table = capture.table()
    small = captures.open(FILES[0]).table()
    assert path.stat().st_size > 1 << 20
    assert len(table) == 120 * len(small)
    assert (table["bth_psn"][: len(small)] == small["bth_psn"]).all()
    assert table.frame_bytes(len(table) - 1) == small.frame_bytes(len(small) - 1)
    assert capture.damage == ()
