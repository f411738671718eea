"""Mangled frames through Packet, PacketTable and the census.

    python -m tests.fuzz.frames --count 100000 --seed 1

Every frame must parse without raising, build into the same bytes, and be told of in words; the
table must say the same of it, with other bytes around it too; its buffer ends at a page that
nobody may read. Prints what it did; ends with a traceback and the frame in hexadecimal otherwise.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import mmap
import resource
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from dissectors.census import hierarchy, marks
from dissectors.header import Header
from dissectors.hierarchy import path
from dissectors.packet import Packet
from dissectors.rules import HEADERS
from dissectors.table import PLACE, PacketTable
from tests.dissectors import matrix, samples
from tests.fuzz.mutate import mutated

BATCH = 4096
"""Frames of a table: more than are parsed one by one."""
HANG_SECONDS = 120
"""A batch that takes longer is a hang."""


@dataclass(frozen=True, slots=True)
class Case:
    """A frame and what the file says of it."""

    data: bytes
    link_type: int
    original_length: int


def corpus() -> dict[int, list[bytes]]:
    """Link type -> sound frames."""
    found = {kind: [frame for _, frame in made] for kind, made in matrix.by_link_type().items()}
    seen = {frame for file in samples.FILES for _, _, frame in samples.frames(file)}
    found[1] += sorted(seen)
    return found


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` mangled frames, the same for the same seed."""
    sound = corpus()
    every = [frame for frames in sound.values() for frame in frames]
    kinds = [*sound, *([1] * len(sound))]
    random = Random(seed)
    for _ in range(count):
        link_type = random.choice(kinds)
        data = mutated(random, random.choice(sound[link_type]), every)
        if random.random() < 0.02:
            link_type = random.choice((*sound, 9999))
        length = len(data)
        if random.random() < 0.2:
            length = random.choice((0, length + 1, length + 4, random.randrange(2000), 2**32 - 1))
        yield Case(data, link_type, length)


def check(case: Case) -> Packet:
    """The frame read in every way there is; AssertionError where one contradicts another."""
    packet = Packet.parse(case.data, case.link_type, case.original_length)
    assert packet.build() == case.data, "built otherwise"
    assert "\n" not in str(packet)
    assert packet.tree() is not None
    assert packet.icrc_status in range(4)
    assert path(packet)
    for _ in packet.management:
        pass
    for place in packet.layout():
        assert 0 <= place.bit_offset <= place.bit_offset + place.bits <= 8 * len(case.data)
    return packet


class Guarded:
    """Memory behind which a page lies that nobody may read."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        self.size = -(-size // page) * page
        self._map = mmap.mmap(-1, self.size + page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        if protect(ctypes.c_void_p(address + self.size), ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.array = np.frombuffer(self._map, np.uint8, self.size)


def table(batch: list[Case], around: int) -> PacketTable:
    """The batch as a table, `around` (a byte) standing between its frames, and the last one's end
    being that of what may be read.
    """
    gap = 7
    sizes = np.array([len(case.data) for case in batch], np.int64)
    total = int(sizes.sum()) + gap * len(batch)
    memory = Guarded(total).array
    first = len(memory) - total
    memory[:] = around
    positions = first + np.cumsum(sizes + gap) - sizes
    for case, at in zip(batch, positions.tolist(), strict=True):
        memory[at : at + len(case.data)] = np.frombuffer(case.data, np.uint8)
    place: dict[str, Any] = {name: np.zeros(len(batch), np.int64) for name in PLACE}
    place |= {
        "frame": np.arange(1, len(batch) + 1, dtype=np.uint64),
        "captured_length": sizes.astype(np.uint32),
        "original_length": np.array([case.original_length for case in batch], np.uint32),
        "interface": np.zeros(len(batch), np.uint32),
    }
    links = np.array([case.link_type for case in batch], np.uint32)
    return PacketTable.from_buffer(memory, positions, place, links)


def same(found: PacketTable, packets: list[Packet], batch: list[Case]) -> None:
    """The table says of every packet what parsing it says."""
    names = ("headers", "icrc_status", "damage", "payload_offset", "payload_length")
    columns = [found[name].tolist() for name in names]
    held: dict[type[Header], dict[int, Header]] = {kind: {} for kind in HEADERS}
    for row, (packet, *said) in enumerate(zip(packets, *columns, strict=True)):
        headers, status, damage, offset, length = said
        for header in packet.headers:
            held[type(header)][row] = header
        expected = sum(1 << HEADERS.index(kind) for kind in {type(h) for h in packet.headers})
        assert headers == expected, f"row {row}: headers"
        assert status == packet.icrc_status, f"row {row}: ICRC"
        assert damage == (packet.damage.code if packet.damage else 0), f"row {row}: damage"
        payload = batch[row].data[offset : offset + length]
        assert payload[: len(packet.payload)] == packet.payload, f"row {row}: payload"
    for kind, rows in held.items():
        for number, field in enumerate(kind.fields):
            column = found[field.column].tolist() if field.bits else []
            for row in rows if field.bits else ():
                assert column[row] == rows[row][number], f"row {row}: {field.path}"


def run(seed: int, count: int, seconds: float = 1e9) -> dict[str, float]:
    """Check `count` frames, or as many as there is time for; numbers of what was done."""
    begun = time.perf_counter()
    batch: list[Case] = []
    done, slowest = 0, 0.0
    kinds: Counter[str] = Counter()
    for number, case in enumerate(cases(seed, count), 1):
        batch.append(case)
        if len(batch) < BATCH and number < count:
            continue
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        packets = []
        for one in batch:
            started = time.perf_counter()
            try:
                packets.append(check(one))
            except Exception as error:
                error.add_note(f"{one.link_type=} {one.original_length=} {one.data.hex()}")
                raise
            slowest = max(slowest, time.perf_counter() - started)
        for around in (0, 0xFF):
            found = table(batch, around)
            try:
                same(found, packets, batch)
            except AssertionError as error:
                row = int(str(error).removeprefix("row ").split(":")[0])
                one = batch[row]
                error.add_note(f"{one.link_type=} {one.original_length=} {one.data.hex()}")
                raise
        expected = Counter(path(packet) for packet in packets)
        counted = hierarchy(found)
        # Alone, a segment of an iWARP stream does not say so.
        assert counted == expected or any("iWARP MPA" in way for way in counted), (
            f"counted otherwise: {expected.items() ^ counted.items()}"
        )
        marks(found)
        kinds.update(packet.damage.code.name if packet.damage else "sound" for packet in packets)
        done, batch = number, []
        faulthandler.cancel_dump_traceback_later()
        if time.perf_counter() - begun > seconds:
            break
    took = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = {"seed": seed, "frames": done, "seconds": round(took, 1)}
    return said | {"slowest_ms": round(1e3 * slowest, 1), "peak_mib": round(peak)} | kinds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    given = parser.parse_args()
    print(run(given.seed, given.count, given.seconds))  # noqa: T201 - this is its output
