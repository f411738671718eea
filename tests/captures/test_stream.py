"""Compressed captures and standard input."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

import captures
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


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_torn_compressed_file_keeps_frames_and_says_so(tmp_path: Path, kind: str) -> None:
    content = SAMPLE.read_bytes()
    whole = COMPRESSORS[kind](content)
    path = tmp_path / "torn"
    path.write_bytes(whole[:-9])
    try:
        capture = captures.open(path)
        got = list(capture.frames())
    except captures.CaptureError:
        return  # a single compressed block: nothing at all comes out of it
    expected = list(captures.open(SAMPLE).frames())
    assert got == expected[: len(got)]
    assert len(capture.damage) == 1


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_noise_is_no_capture(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "noise"
    path.write_bytes(COMPRESSORS[kind](b"x" * 40)[:9] + bytes(range(50)))
    with pytest.raises(captures.CaptureError):
        list(captures.open(path).frames())


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
