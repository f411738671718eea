"""Columns of all headers, ICRC checked, beside tshark, scapy, cat: `python -m tests.bench.decode`.

One run, one machine, one generated capture; rates are of packets a second by wall clock, and the
ratio is ours to the peer's. Slow peers are given a part of the packets.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import captures
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from tests.dissectors import matrix

FIELDS = ("frame.number", "infiniband.bth.opcode", "infiniband.bth.psn", "infiniband.bth.destqp",
          "infiniband.reth.va", "infiniband.reth.dmalen", "infiniband.aeth.syndrome")  # fmt: skip
OPCODES = (Opcode.RC_RDMA_WRITE_FIRST, *[Opcode.RC_RDMA_WRITE_MIDDLE] * 6,
           Opcode.RC_RDMA_WRITE_LAST, Opcode.RC_ACKNOWLEDGE)  # fmt: skip
TSHARK_PART, SCAPY_PART = 100_000, 2_000


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


def ours(path: Path) -> None:
    table = captures.open(path).table()
    for name in ("bth_opcode", "bth_psn", "bth_dest_qp", "reth_va", "reth_dma_len"):
        table[name].max()


def tshark(path: Path) -> None:
    asked = [part for name in FIELDS for part in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-c", str(TSHARK_PART), "-T", "fields", *asked]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def scapy(path: Path) -> None:
    import scapy.contrib.roce  # noqa: F401
    from scapy.utils import PcapReader

    with PcapReader(str(path)) as reader:
        for _ in range(SCAPY_PART):
            reader.read_packet()


def cat(path: Path) -> None:
    with path.open("rb") as file:
        subprocess.run(["cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)


def best(action: Callable[[Path], None], path: Path, runs: int) -> float:
    """Shortest wall-clock seconds of `runs`."""

    def once() -> float:
        start = time.perf_counter()
        action(path)
        return time.perf_counter() - start

    return min(once() for _ in range(runs))


def compare(packets: int, payload: int) -> None:
    """Print the table for one kind of capture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.pcap"
        generate(path, packets, payload)
        size = path.stat().st_size
        ours(path)  # compiles, or loads what was compiled
        mine = packets / best(ours, path, 3)
        print(f"{packets} packets, {size / 1e6:.0f} MB, payload {payload} bytes")
        print(f"  {'rocelab, ICRC checked':24}{mine:12.0f} packets/s")
        for name, action, part, runs in (
            ("cat > /dev/null", cat, packets, 3),
            ("tshark -T fields", tshark, min(packets, TSHARK_PART), 1),
            ("scapy", scapy, min(packets, SCAPY_PART), 1),
        ):
            theirs = part / best(action, path, runs)
            print(f"  {name:24}{theirs:12.0f} packets/s  ratio {mine / theirs:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=1_000_000)
    packets = parser.parse_args().packets
    for payload in (1024, 16):
        compare(packets, payload)


if __name__ == "__main__":
    main()
