"""Compressed captures and standard input."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import captures
from captures.stream import open_stream
from tests.captures import files

SAMPLE = files.SAMPLES[0]
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_reads_as_plain(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.pcap.{kind}"
    path.write_bytes(COMPRESSORS[kind](SAMPLE.read_bytes()))
    assert list(captures.open(path).frames()) == list(captures.open(SAMPLE).frames())


DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(31),
    "xz": lzma.LZMADecompressor,
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("kept", [0.3, 0.7, 1])
def test_a_torn_compressed_file_keeps_all_before_the_tear(
    tmp_path: Path, kind: str, kept: float
) -> None:
    sample = b"".join(path.read_bytes() for path in files.SAMPLES if path.stat().st_size > 40_000)
    content = files.pcap(*[(n, 0, sample[n * 500 : (n + 1) * 500]) for n in range(1000)])
    torn = COMPRESSORS[kind](content)
    torn = torn[: int(len(torn) * kept) - 9]
    path = tmp_path / "torn"
    path.write_bytes(torn)
    left = len(DECOMPRESSORS[kind]().decompress(torn))
    capture = captures.open(path)
    got = list(capture.frames())
    assert len(got) == (left - 24) // 516 > 100 * kept
    (damage,) = capture.damage
    assert damage.offset == 24 + 516 * len(got)
    assert "the compressed file was cut off" in damage.message
    table = capture.table()
    assert capture.seen_damage == (damage,)
    assert table["offset"].tolist() == [frame.offset for frame in got]
    assert sum(len(part) for part in capture.tables()) == len(got)
    assert capture.seen_damage == (damage,)


def test_a_wrong_checksum_costs_no_frame(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(SAMPLE.read_bytes()))
    packed[-8] ^= 1
    path = tmp_path / "wrong.pcap.gz"
    path.write_bytes(packed)
    capture = captures.open(path)
    assert list(capture.frames()) == list(captures.open(SAMPLE).frames())
    (damage,) = capture.damage
    assert damage.offset == SAMPLE.stat().st_size
    assert "incorrect data check" in damage.message


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("padding", [b"", bytes(8)])
def test_compressed_piece_by_piece_reads_as_plain(
    tmp_path: Path, kind: str, padding: bytes
) -> None:
    content = SAMPLE.read_bytes()
    pieces = (content[:100], b"", content[100:3000], content[3000:])
    path = tmp_path / "pieces"
    path.write_bytes(padding.join(COMPRESSORS[kind](piece) for piece in pieces) + padding)
    capture = captures.open(path)
    assert list(capture.frames()) == list(captures.open(SAMPLE).frames())
    assert capture.damage == ()


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_noise_is_no_capture(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "noise"
    path.write_bytes(COMPRESSORS[kind](b"x" * 40)[:9] + bytes(range(50)))
    with pytest.raises(captures.CaptureError):
        list(captures.open(path).frames())


@pytest.mark.parametrize("kind", ["plain", *COMPRESSORS])
def test_what_is_skipped_is_there_or_said_to_be_missing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    content = bytes(range(256)) * 10
    path.write_bytes(COMPRESSORS.get(kind, bytes)(content))
    with open_stream(path) as stream:
        assert stream.peek(4) == content[:4]
        assert stream.skip(300) == 300
        assert (stream.offset, stream.read(2)) == (300, content[300:302])
        assert stream.peek(9) == content[302:311]
        assert stream.skip(1 << 33) == len(content) - 302
        assert (stream.offset, stream.read(1), stream.skip(1)) == (len(content), b"", 0)


COUNT = """
import captures
with captures.open("-") as capture:
    print(sum(1 for _ in capture.frames()), len(capture.interfaces), capture.damage)
    try:
        capture.frames().__next__()
    except captures.CaptureError as error:
        print(error)
"""


def test_standard_input_is_read_once() -> None:
    count = len(list(captures.open(SAMPLE).frames()))
    done = subprocess.run(
        [sys.executable, "-c", COUNT], input=SAMPLE.read_bytes(), capture_output=True, check=True
    )
    first, second = done.stdout.decode().splitlines()
    assert first == f"{count} 1 ()"
    assert "expected a first reading, found a second" in second


def test_importing_captures_takes_the_standard_library_alone() -> None:
    code = (
        "import sys, captures, captures.run, captures.truth, captures.convert;"
        "print(sorted({'numpy', 'numba', 'zstandard', 'polars'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
