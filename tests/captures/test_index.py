"""Frames found by compiled code over the mapped file are those that the readers find, damage
included.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import captures
from captures import index, tables
from captures.model import Contents
from captures.stream import Stream
from tests.captures.files import (
    SAMPLES,
    block,
    enhanced,
    interface,
    option,
    pcap,
    section,
)
from tests.captures.test_erf import RECORDS

ERF = RECORDS["infiniband"]


def both(path: Path) -> None:
    """Read `path` both ways and compare frames, interfaces, secrets and damage."""
    seen, expected = Contents(), captures.open(path)
    with path.open("rb") as file:
        found = index.batches(Stream(str(path), file), file, seen)
    assert found is not None
    data, batches = found
    try:
        frames = list(expected.frames())
    except captures.CaptureError as error:
        with pytest.raises(captures.CaptureError, match=re.escape(str(error))):
            list(batches)
        return
    columns = [np.concatenate(each).tolist() for each in zip(*batches, strict=True)] or [[]] * 5
    assert columns == [
        [frame.offset for frame in frames],
        [len(frame.data) for frame in frames],
        [frame.original_length for frame in frames],
        [frame.interface for frame in frames],
        [frame.time_ns for frame in frames],
    ]
    assert tuple(seen.damage) == expected.damage
    assert tuple(seen.interfaces) == expected.interfaces
    assert "".join(seen.secrets) == expected.secrets
    for frame in frames:
        assert data[frame.offset : frame.offset + len(frame.data)].tobytes() == frame.data


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    both(path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_byte_orders_and_resolutions(order: str, magic: int, tmp_path: Path) -> None:
    records = [(0xFFFFFFFF - n, 0xFFFFFFFF - n, bytes(n)) for n in range(70)]
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(*records, order=order, magic=magic))
    both(path)


def sections(order: str) -> bytes:
    """Every kind of block, two sections, odd clocks."""
    other = "<" if order == ">" else ">"
    seconds = (100).to_bytes(8, "little" if order == "<" else "big")
    number = (5).to_bytes(4, "little" if order == "<" else "big")
    long = (9).to_bytes(4, "little" if other == "<" else "big")
    return b"".join(
        (
            section(order),
            interface(1, order=order),
            interface(113, options=option(9, b"\x09", order), order=order),
            interface(1, options=option(9, b"\x8a", order), order=order),
            interface(1, options=option(9, b"\x0c", order), order=order),
            enhanced(0, 7, b"micro", option(1, b"a remark", order), order),
            block(0x77777777, b"skip", order),
            enhanced(1, 2**64 - 1, b"late", order=order),
            enhanced(2, 1536, b"binary", order=order),
            enhanced(3, 1_500_000_001_999, b"pico", order=order),
            block(3, number + b"plain\0\0\0", order),
            section(other),
            interface(101, 4, option(14, seconds, other), order=other),
            block(3, long + b"shor", other),
            enhanced(0, 1, b"offset", order=other),
            block(5, bytes(4) + bytes(8), other),
        )
    )


def records() -> bytes:
    """ERF records of every kind, several times over, so that every port comes again."""
    return ERF + b"".join(RECORDS.values()) + ERF


@pytest.mark.parametrize("rows", [3, index.ROWS])
def test_erf_of_every_kind(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ROWS", rows)
    path = tmp_path / "x.erf"
    path.write_bytes(records())
    assert len(list(captures.open(path).frames())) == 15 + 2
    both(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_of_every_kind(order: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(sections(order))
    assert len(list(captures.open(path).frames())) == 7
    both(path)


@pytest.mark.parametrize("content", [pcap((1, 2, b"abc"), (3, 4, b"")), sections("<"), records()])
def test_every_truncation(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    # What is shorter than its first record is not taken for ERF.
    start = len(ERF) if content.startswith(ERF) else 24
    for length in range(start, len(content)):
        path.write_bytes(content[:length])
        both(path)


@settings(max_examples=100)
@given(st.data())
def test_mangled_files(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    sound = pcap(*[(n, n, bytes(10 * n)) for n in range(9)])
    content = bytearray(
        data.draw(st.sampled_from([sound, sections("<"), sections(">"), records()]))
    )
    start = len(ERF) if content.startswith(ERF) else 4
    for place in data.draw(st.lists(st.integers(start, len(content) - 1), max_size=5)):
        content[place] = data.draw(st.sampled_from([0, 1, 4, 6, 0x10, 0x7F, 0xFF]))
    path = tmp_path_factory.getbasetemp() / "mangled"
    path.write_bytes(content)
    both(path)


def repeated(sample: Path, times: int) -> bytes:
    content = sample.read_bytes()
    return content[:24] + content[24:] * times


@pytest.mark.parametrize("kind", ["plain", "gzip", "pcapng"])
def test_a_large_file_as_a_whole_and_in_parts(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = captures.open(SAMPLES[0]).table()
    path = tmp_path / "large"
    content = repeated(SAMPLES[0], 120)
    if kind == "gzip":
        content = gzip.compress(content, 1)
    if kind == "pcapng":
        frames = [
            enhanced(0, frame.time_ns // 1000, frame.data)
            for frame in captures.open(SAMPLES[0]).frames()
        ]
        content = b"".join([section(), interface(), *(frames * 120)])
    path.write_bytes(content)
    capture = captures.open(path)
    whole = capture.table()
    assert len(whole) == 120 * len(small)
    assert capture.seen_damage == ()
    for name in ("bth_psn", "icrc_status", "captured_length"):
        assert (whole[name] == np.tile(small[name], 120)).all()
    assert whole.frame_bytes(len(whole) - 1) == small.frame_bytes(len(small) - 1)
    monkeypatch.setattr(index, "ROWS", 1000)
    monkeypatch.setattr(tables, "FRAMES", 1000)
    parts = list(captures.open(path).tables())
    assert [len(part) for part in parts[:-1]] == [1000] * (len(parts) - 1)
    for name in ("frame", "time_ns", "offset", "bth_psn", "src"):
        assert (np.concatenate([part[name] for part in parts]) == whole[name]).all()
    last = parts[-1]
    assert last.frame_bytes(len(last) - 1) == small.frame_bytes(len(small) - 1)


def test_torn_compression_is_said_of_the_table_too(tmp_path: Path) -> None:
    path = tmp_path / "torn.gz"
    path.write_bytes(gzip.compress(repeated(SAMPLES[0], 120), 1)[:-5000])
    capture = captures.open(path)
    table = capture.table()
    (damage,) = capture.seen_damage
    assert damage == captures.open(path).damage[0]
    assert len(table) == len(list(captures.open(path).frames()))


TABLE = "import captures; print(len(captures.open('-').table()))"


def test_a_table_of_standard_input() -> None:
    content = repeated(SAMPLES[0], 120)
    done = subprocess.run(
        [sys.executable, "-c", TABLE], input=content, capture_output=True, check=True
    )
    assert int(done.stdout) == 120 * len(captures.open(SAMPLES[0]).table())


def test_more_packets_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.pcap"
    path.write_bytes(repeated(SAMPLES[0], 120))
    monkeypatch.setattr(tables, "ROW", 1 << 60)
    capture = captures.open(path)
    with pytest.raises(captures.CaptureError, match="memory holds at once, found more"):
        capture.table()
    assert sum(map(len, capture.tables())) == 120 * len(captures.open(SAMPLES[0]).table())


def test_a_file_that_unpacks_to_more_than_there_is_room_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.pcap.gz"
    path.write_bytes(gzip.compress(repeated(SAMPLES[0], 120)))
    monkeypatch.setattr(tables, "SHARE", 0)
    capture = captures.open(path)
    with pytest.raises(captures.CaptureError, match="at most 0 bytes when unpacked"):
        capture.table()
    assert sum(map(len, capture.tables())) == 120 * len(captures.open(SAMPLES[0]).table())
