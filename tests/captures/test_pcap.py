"""pcap files: byte orders, resolutions, damage; tshark is the witness for the samples."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

import captures
from captures import pcap
from tests.captures import files
from tests.requires import tool

NANO = 0xA1B23C4D


@pytest.mark.parametrize(
    ("order", "magic", "expected_ns"),
    [
        ("<", 0xA1B2C3D4, 5_000_007_000),
        (">", 0xA1B2C3D4, 5_000_007_000),
        ("<", NANO, 5_000_000_007),
        (">", NANO, 5_000_000_007),
    ],
)
def test_byte_order_and_resolution(
    tmp_path: Path, order: str, magic: int, expected_ns: int
) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(files.pcap((5, 7, b"abc"), (6, 0, b""), order=order, magic=magic))
    capture = captures.open(path)
    first, second = capture.frames()
    assert (first.number, first.time_ns, first.data) == (1, expected_ns, b"abc")
    assert (first.offset, first.link_type, first.interface) == (40, 1, 0)
    assert (second.number, second.data) == (2, b"")
    assert capture.damage == ()


@pytest.mark.parametrize("path", files.SAMPLES, ids=lambda p: p.stem)
def test_samples_as_tshark_reads_them(path: Path) -> None:
    tool("tshark")
    fields = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len")
    command = ["tshark", "-r", str(path), "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ours = [
        (f.number, f"{f.time_ns // 10**9}.{f.time_ns % 10**9:09}", f.original_length, len(f.data))
        for f in captures.open(path).frames()
    ]
    assert ["\t".join(map(str, row)) for row in ours] == shown.splitlines()


@pytest.mark.parametrize("missing", range(1, 20))
def test_a_torn_last_record_keeps_all_before_it(tmp_path: Path, missing: int) -> None:
    whole = files.pcap((1, 0, b"first"), (2, 0, b"last"))
    path = tmp_path / "torn.pcap"
    path.write_bytes(whole[:-missing])
    capture = captures.open(path)
    assert [frame.data for frame in capture.frames()] == [b"first"]
    (damage,) = capture.damage
    assert damage.offset == 24 + 16 + 5


def test_a_length_that_lies_is_damage_not_memory(tmp_path: Path) -> None:
    path = tmp_path / "lies.pcap"
    path.write_bytes(files.pcap((1, 0, b"ok")) + b"\xff" * 40)
    capture = captures.open(path)
    assert [frame.data for frame in capture.frames()] == [b"ok"]
    assert "4294967295" in str(capture.damage[0])
    assert capture.damage[0].offset == 42


def test_what_is_written_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    writer = pcap.Writer(stream, link_type=1)
    writer.packet(b"one", 1_700_000_000_123_456_789)
    writer.packet(b"two", 1_700_000_001_000_000_000, original_length=99)
    path = tmp_path / "w.pcap"
    path.write_bytes(stream.getvalue())
    one, two = captures.open(path).frames()
    assert (one.time_ns, one.data) == (1_700_000_000_123_456_789, b"one")
    assert (two.original_length, two.data) == (99, b"two")
    assert captures.open(path).interfaces[0].ticks_per_second == 10**9


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"GIF89a", "bytes 47 49 46 38"),
        (files.pcap()[:20], "20 bytes"),
        (files.pcap()[:4] + b"\x07" + files.pcap()[5:], "version 7"),
    ],
)
def test_no_capture_says_so(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "not.pcap"
    path.write_bytes(content)
    with pytest.raises(captures.CaptureError, match=words) as error:
        list(captures.open(path).frames())
    assert str(path) in str(error.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(captures.CaptureError, match="No such file"):
        captures.open(tmp_path / "none.pcap")
