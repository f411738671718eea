"""Mangled capture files through captures.open: frames, table, index, and what is said of the file.

    python -m tests.fuzz.files --count 10000 --seed 1

A file must give frames and damage, or CaptureError; nothing else, in bounded time and memory. Read
as a table, whole or in parts, by compiled code or not, it must give the same, and `rocelab decode`
must list it. Prints what it did; ends with a traceback that holds the file otherwise, or, where
something hung, leaves the file in the temporary folder.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import lzma
import multiprocessing
import resource
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random
from unittest.mock import patch

import zstandard

import captures
from analysis.listing.run import Options, decode
from captures import index, tables
from captures.model import CaptureError, Frame
from captures.pcapng import Writer
from dissectors.table import PacketTable
from tests.captures import files
from tests.dissectors import matrix, samples
from tests.fuzz.mutate import mutated

HANG_SECONDS = 30
ROOM = 4 << 30
"""Bytes of address space: what wants more fails."""
FRAMES = 12
"""Frames of a file: enough to be lost in."""

COLUMNS: dict[str, Callable[[Frame], int]] = {
    "frame": lambda frame: frame.number,
    "time_ns": lambda frame: frame.time_ns,
    "offset": lambda frame: frame.offset,
    "captured_length": lambda frame: len(frame.data),
    "original_length": lambda frame: frame.original_length,
    "interface": lambda frame: frame.interface,
}


def sound(random: Random) -> list[bytes]:
    """Captures of every kind: both formats and byte orders, several interfaces, options, secrets,
    sections.
    """
    frames = [frame for path in samples.FILES[::7] for _, _, frame in samples.frames(path)]
    frames += [frame for _, frame in matrix.by_link_type()[1][::40]]
    some = [random.sample(frames, FRAMES) for _ in range(8)]
    records = [[(at, 7 * at, frame) for at, frame in enumerate(chosen)] for chosen in some]
    found = [
        files.pcap(*records[0]),
        files.pcap(*records[1], order=">"),
        files.pcap(*records[2], magic=0xA1B23C4D),
        files.pcap(*records[3], order=">", magic=0xA1B23C4D, link=101),
    ]
    found += [files.section(order) + written(some[4], order) for order in "<>"]
    found.append(found[-1] + found[-2])
    stream = io.BytesIO()
    writer = Writer(stream, comment="whole", application="fuzz")
    first, second = writer.interface(name="a", filter="udp"), writer.interface(name="b")
    writer.secrets("CLIENT_RANDOM 00 11\n")
    for at, frame in enumerate(some[5]):
        writer.packet(frame, at, interface=(first, second)[at % 2], comment="x" * at)
    writer.statistics(time_ns=99, interface=first, received=9, dropped=1)
    found.append(stream.getvalue())
    found.append(b"".join(recorded(some[6])))
    return found


def recorded(frames: Sequence[bytes]) -> Iterator[bytes]:
    """ERF records: Ethernet, InfiniBand, others; extension headers, padding."""
    extension = b"\x03" + bytes(7)
    for at, data in enumerate(frames):
        kind, between = ((2, bytes(2)), (0x95, extension), (25, b""), (48, b""))[at % 4]
        yield files.erf(kind, data, at << 30, flags=at % 4, between=between)


def written(frames: Sequence[bytes], order: str) -> bytes:
    """Blocks of a pcapng section with every kind of packet block, options and unknown blocks."""
    options = files.option(1, b"comment", order) + files.option(0, b"", order)
    resolution = files.option(9, b"\x09", order) + files.option(14, bytes(8), order)
    parts = [
        files.interface(options=resolution, order=order),
        files.interface(101, 64, order=order),
    ]
    for at, data in enumerate(frames):
        lengths = (len(data), len(data))
        padded = data + bytes(-len(data) % 4)
        simple = struct.pack(order + "I", len(data)) + padded
        obsolete = struct.pack(order + "HHIIII", at % 2, 0, 0, at, *lengths) + padded
        parts.append((
            files.enhanced(at % 2, at, data, options, order),
            files.block(3, simple, order),
            files.block(2, obsolete, order),
            files.block(0x80000BAD, bytes(16), order),
        )[at % 4])  # fmt: skip
    statistics = struct.pack(order + "III", 0, 0, 0) + files.option(5, bytes(8), order)
    return b"".join([*parts, files.block(5, statistics, order)])


def blocks(random: Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    """A number that lies on a 4-byte boundary made 0, 4, a little off, 4 GB: lengths lie there."""
    found = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at = 4 * random.randrange(max(1, len(found) // 4))
        order = random.choice(("<", ">"))
        new = random.choice((0, 1, 4, 8, 12, 16, 0xFFFF, 1 << 24, 1 << 31, 2**32 - 4, 2**32 - 1))
        found[at : at + 4] = struct.pack(order + "I", new)
    return bytes(found)


def looping(random: Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    """Options of length 0, or longer than their block, where something else stood."""
    at = 4 * random.randrange(max(1, len(data) // 4))
    code, length = random.choice(((1, 0), (1, 65535), (0, 65535), (9, 0), (14, 3), (0xFFFF, 1)))
    option = struct.pack(random.choice("<>") + "HH", code, length)
    return data[:at] + option * random.choice((1, 2, 500)) + data[at + 4 * random.randrange(3) :]


WAYS: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (mutated, blocks, looping)
PACKERS: tuple[Callable[[bytes], bytes], ...] = (
    *[bytes] * 12,
    lambda data: gzip.compress(data, 1, mtime=0),
    lambda data: lzma.compress(data, preset=0),
    zstandard.ZstdCompressor(level=1).compress,
)


LISTINGS = (
    Options(form="tree", hex=True),
    Options(form="json", expression="bth.psn % 3 != 1 or not bth"),
    Options(form="json", stats=True),
    Options(fields=("frame", "src", "bth.psn", "aeth.syndrome")),
)
"""What `rocelab decode` is asked for, of each file one of them."""


def cases(seed: int, count: int) -> Iterator[bytes]:
    """`count` mangled files, the same for the same seed."""
    random = Random(seed)
    every = sound(random)
    for _ in range(count):
        data = random.choice(WAYS)(random, random.choice(every), every)
        packed = random.choice(PACKERS)(data)
        if packed is not data and random.random() < 0.5:
            packed = mutated(random, packed, every)
        yield packed


def check(path: Path, number: int) -> str:
    """The file read in every way there is, and listed in one; what came of it."""
    try:
        capture = captures.open(path)
        frames = list(capture.frames())
    except CaptureError:
        return "refused"
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert isinstance(capture.secrets, str)
    assert all(frame.interface < len(capture.interfaces) for frame in frames)
    damage, interfaces = capture.damage, capture.interfaces
    for small in (0, tables.LARGE):
        # Compiled code, which is used for large files only, reads them all.
        with patch.object(tables, "LARGE", small), patch.object(index, "ROWS", FRAMES // 2):
            for read in (lambda: [capture.table()], lambda: list(capture.tables())):
                same(frames, read())
                assert (capture.damage, capture.interfaces) == (damage, interfaces)
    decode(captures.open(path), LISTINGS[number % len(LISTINGS)], io.StringIO())
    return "damaged" if damage else "sound"


def same(frames: Sequence[Frame], parts: Sequence[PacketTable]) -> None:
    """The tables hold what the reader read."""
    for name, of in COLUMNS.items():
        found = [value for part in parts for value in part[name].tolist()]
        assert found == [of(frame) for frame in frames], name
    rows = [(part, row) for part in parts for row in range(len(part))]
    for (part, row), frame in zip(rows, frames, strict=True):
        assert part.frame_bytes(row) == frame.data


def run(seed: int, count: int, job: int = 0, jobs: int = 1) -> dict[str, float]:
    """Check those of `count` files that are job number `job`'s; numbers of what was done."""
    begun = time.perf_counter()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    done = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mangled"
        for number, data in islice(enumerate(cases(seed, count)), job, None, jobs):
            path.write_bytes(data)
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            started = time.perf_counter()
            try:
                outcomes[check(path, number)] += 1
            except BaseException as error:
                error.add_note(f"case {number} of seed {seed}: {data.hex()}")
                raise
            slowest = max(slowest, time.perf_counter() - started)
            faulthandler.cancel_dump_traceback_later()
            done += 1
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = {"seed": seed, "files": done, "seconds": round(took, 1)}
    return said | {"slowest_ms": round(1e3 * slowest, 1), "peak_mib": round(peak)} | outcomes


def limited(seed: int, count: int, job: int, jobs: int) -> dict[str, float]:
    """As `run`, in bounded memory: asking for more fails."""
    resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
    return run(seed, count, job, jobs)


def together(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Numbers of jobs as those of one run."""
    greatest = ("seed", "seconds", "slowest_ms", "peak_mib")
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: (max if name in greatest else sum)(part.get(name, 0) for part in parts)
        for name in names
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        each = [
            pool.submit(limited, given.seed, given.count, job, given.jobs)
            for job in range(given.jobs)
        ]
        print(together([job.result() for job in each]))  # noqa: T201 - this is its output
