"""Decoding beside tshark, scapy and cat, with the goals: `python -m tests.bench.decode`.

All in one run on one machine, over generated captures. Each figure is the shortest of several
turns, taken in turn with the others, so that a busy machine is busy for all. tshark and scapy get
the first packets only (`--part`, `--scapy-part`) and are compared packet by packet. Goals are about
wall-clock time; CPU time (of all threads, user and system) stands beside it, since two threads
gain nothing, and memory is slow, where other programs run.
"""

from __future__ import annotations

import argparse
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import captures
from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.rdeth import RDETH
from dissectors.reth import RETH
from dissectors.table import PacketTable
from dissectors.xrceth import XRCETH
from tests.dissectors import matrix

TRANSPORT = (BTH, RDETH, DETH, XRCETH, RETH, AtomicETH, AETH, AtomicAckETH, ImmDt, IETH)
FIELDS = [field for kind in TRANSPORT for field in kind.fields if field.tshark]
"""All fields of the transport headers that both know."""
OPCODES = (Opcode.RC_RDMA_WRITE_FIRST, *[Opcode.RC_RDMA_WRITE_MIDDLE] * 6,
           Opcode.RC_RDMA_WRITE_LAST, Opcode.RC_ACKNOWLEDGE)  # fmt: skip
ROCELAB = (sys.executable, "-m", "lab.cli")


class Took(NamedTuple):
    """Seconds by the clock, and of the processor."""

    wall: float
    cpu: float

    def __truediv__(self, other: Took | float) -> Took:
        """Both ratios; or both times for one of so many packets."""
        if isinstance(other, Took):
            return Took(self.wall / other.wall, self.cpu / other.cpu)
        return Took(self.wall / other, self.cpu / other)


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and what it should be at least, or at most where `most` is set."""

    name: str
    value: Took
    goal: float
    unit: str = "times"
    most: bool = False

    def __str__(self) -> str:
        wall, cpu = self.value
        reached = wall <= self.goal if self.most else wall >= self.goal
        wanted = f"{'<=' if self.most else '>='} {self.goal:g} {self.unit}"
        return (
            f"  {self.name:45}{wall:12.2f}{cpu:12.2f}{wanted:>14}  "
            f"{'reached' if reached else 'MISSED'}"
        )


def generate(path: Path, packets: int, payload: int) -> None:
    """A pcap of `packets` frames: WRITEs of eight packets of `payload` bytes, and their ACKs."""
    _, carrier, _ = matrix.CARRIERS["ipv4"]
    records = []
    for number, row in enumerate(OPCODES):
        headers = (*carrier, BTH(opcode=row, dest_qp=17, psn=number))
        extended = (matrix.telling(kind) for kind in row.headers)
        frame = Packet((*headers, *extended), bytes(payload) if row.has_payload else b"").build()
        records.append(struct.pack("<IIII", number, 0, len(frame), len(frame)) + frame)
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        whole, rest = divmod(packets, len(records))
        for _ in range(whole):
            file.write(b"".join(records))
        file.write(b"".join(records[:rest]))


def columns(path: Path) -> PacketTable:
    """The table, with every column that tshark is asked for."""
    table = captures.open(path).table()
    for field in FIELDS:
        table[field.column]
    return table


def checked(path: Path) -> None:
    """The same and the ICRC of every packet, on one core."""
    with one_core():
        columns(path)["icrc_status"]


@contextmanager
def one_core() -> Iterator[None]:
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(every)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def quiet(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def tshark_fields(path: Path, part: int) -> None:
    asked = [text for field in FIELDS for text in ("-e", field.tshark)]
    quiet("tshark", "-n", "-r", str(path), "-c", str(part), "-T", "fields", *asked)


def tshark_hierarchy(path: Path, part: int) -> None:
    quiet("tshark", "-n", "-r", str(path), "-c", str(part), "-q", "-z", "io,phs")


def stats(path: Path) -> None:
    quiet(*ROCELAB, "decode", "--stats", str(path))


def scapy(path: Path, part: int) -> None:
    import scapy.contrib.roce  # noqa: F401
    from scapy.utils import PcapReader

    with PcapReader(str(path)) as reader:
        for _ in range(part):
            reader.read_packet()


def cat(path: Path) -> None:
    with path.open("rb") as file:
        subprocess.run(["cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)


def processor() -> float:
    """Seconds of processor time that this process and those it waited for took."""
    return sum(sum(resource.getrusage(who)[:2])
               for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip


def shortest(turns: int, *actions: Callable[[], object]) -> list[Took]:
    """Shortest times of each action, over `turns` turns of all of them."""
    best = [Took(float("inf"), float("inf"))] * len(actions)
    for _ in range(turns):
        for number, action in enumerate(actions):
            start, spent = time.perf_counter(), processor()
            result = action()
            took = time.perf_counter() - start, max(processor() - spent, 1e-6)
            del result  # which takes time too, but of columns that were there
            best[number] = Took(*map(min, best[number], took))
    return best


def compare(path: Path, name: str, payload: int, asked: argparse.Namespace) -> None:
    """Print the table for one kind of capture."""
    packets = asked.packets
    generate(path, packets, payload)
    size = path.stat().st_size
    columns(path)["icrc_status"]  # compiles, or loads what was compiled
    part, scapy_part = min(packets, asked.part), min(packets, asked.scapy_part)
    tshark, theirs_scapy, phs = shortest(
        1,
        lambda: tshark_fields(path, part),
        lambda: scapy(path, scapy_part),
        lambda: tshark_hierarchy(path, part),
    )
    plain, icrc, cats, whole = shortest(
        asked.turns,
        lambda: columns(path),
        lambda: checked(path),
        lambda: cat(path),
        lambda: stats(path),
    )
    print(f"\n{packets} packets of {name}, {size / 1e6:.0f} MB; {len(FIELDS)} fields; best of "
          f"{asked.turns}; tshark: first {part} packets, scapy: first {scapy_part}; "
          f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # fmt: skip
    print(f"  {'packets/s':45}{'by clock':>12}{'by CPU':>12}{'':9}")
    for what, count, seconds in (
        ("rocelab, columns", packets, plain),
        ("rocelab, columns and ICRC, one core", packets, icrc),
        ("rocelab decode --stats, whole command", packets, whole),
        ("cat > /dev/null", packets, cats),
        ("tshark -T fields", part, tshark),
        ("tshark -q -z io,phs", part, phs),
        ("scapy", scapy_part, theirs_scapy),
    ):
        wall, cpu = seconds
        print(f"  {what:45}{count / wall:12.0f}{count / cpu:12.0f}"
              f"{count / wall * size / packets / 1e9:9.3f} GB/s")  # fmt: skip
    shark, snake = tshark / part, theirs_scapy / scapy_part
    goals = [
        Goal("columns / tshark -T fields", shark / (plain / packets), 100),
        Goal("columns / scapy", snake / (plain / packets), 1000),
        Goal("columns and ICRC / tshark -T fields", shark / (icrc / packets), 30),
    ]
    if payload > 1000:
        rate = Took(size / icrc.wall / 1e9, size / icrc.cpu / 1e9)
        goals += [
            Goal("time of columns / time of cat", plain / cats, 1.5, most=True),
            Goal("columns and ICRC, one core", rate, 2, "GB/s"),
            Goal("decode --stats / tshark -q -z io,phs", (phs / part) / (whole / packets), 20),
        ]
    print(f"  {'':45}{'by clock':>12}{'by CPU':>12}{'goal':>14}", *goals, sep="\n")


def starts(path: Path, turns: int) -> None:
    """Print how soon the commands answer."""
    generate(path, 20, 1024)
    decode, usage = shortest(
        turns, lambda: quiet(*ROCELAB, "decode", str(path)), lambda: quiet(*ROCELAB, "--help")
    )
    print(f"\nstart, best of {turns}")
    print(Goal("rocelab decode, 20 packets", decode, 0.5, "s", most=True))
    print(Goal("rocelab --help", usage, 0.25, "s", most=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--part", type=int, default=200_000, help="packets for tshark")
    parser.add_argument("--scapy-part", type=int, default=5_000, help="packets for scapy")
    parser.add_argument("--turns", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.pcap"
        compare(path, "1.1 KB", 1024, asked)
        compare(path, "small size", 16, asked)
        starts(path, asked.turns)


if __name__ == "__main__":
    main()
