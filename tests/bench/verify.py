"""How long `rocelab verify` takes, by connections in the capture: `python -m tests.bench.verify`.

Captures are generated: every connection has two queue pairs, a SEND and its ACK each way, and
before them what its source of negotiated values says. Each is judged by `rocelab verify` (or
`verify --json`) in a process of its own. Seconds are wall clock, CPU is processor time of it and
its children, the peak is resident memory. Where the cost is linear, `s/10k` is the same from row to
row.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dissectors import icrc
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.cm import CM_REP, CM_REQ, CM_RTU
from dissectors.deth import DETH
from dissectors.header import Field, Header
from dissectors.mad import MAD
from dissectors.opcode import Opcode
from dissectors.tcp import TCP
from tests.analysis.flow import secure_flow
from tests.analysis.scene import START, A, B, Scene, mad
from tests.bench.child import heads, rocelab, row

Column = NDArray[np.int64]
Octets = NDArray[np.uint8]

BATCH = 10_000
"""Connections generated at a time."""
QPS = 100
"""Queue pairs that one perftest program connects."""
PORTS = 60_000
"""TCP ports of pingpong clients before they come round."""
LINK, IP, UDP = 14, 20, 8
GIDS = {A: "::ffff:10.77.0.2", B: "::ffff:10.77.0.1"}


@dataclass(frozen=True)
class Batch:
    """The connections `number`: where their queue pairs and PSNs are, from A and from B."""

    number: Column

    def qpn(self, end: str) -> Column:
        return self.number + (0x11 if end == A else 0x400000)

    def psn(self, end: str) -> Column:
        # Odd factors: all of the 24 bits, and none twice.
        return self.number * (7919 if end == A else 104729) + 5 & 0xFFFFFF


@dataclass(frozen=True)
class Kind:
    """One packet of every connection: a frame, and what to write where (offset, width in bytes)."""

    frame: bytes
    values: Callable[[Batch], Sequence[tuple[int, int, Column]]]
    roce: bool = True

    def frames(self, batch: Batch) -> Octets:
        """The packets of `batch`, shape (connections, frame length)."""
        rows = np.tile(np.frombuffer(self.frame, np.uint8), (len(batch.number), 1))
        for at, width, values in self.values(batch):
            for byte in range(width):
                rows[:, at + byte] = values >> (8 * (width - 1 - byte)) & 0xFF
        if self.roce:
            header = self.frame[LINK : LINK + IP + UDP]
            state = icrc.udp_state(header[IP:], icrc.ipv4_state(header[:IP]))
            bodies = np.ascontiguousarray(rows[:, LINK + IP + UDP : -icrc.SIZE])
            crc = [icrc.over_transport(body, state) for body in bodies]
            rows[:, -icrc.SIZE :] = np.array(crc, "<u4")[:, None].view(np.uint8)
        return rows


def field_at(field: Field, before: int) -> tuple[int, int]:
    """Offset and width of a field of whole bytes in a header `before` bytes into the frame."""
    return before + field.bit_offset // 8, field.bits // 8


def rdma(source: str, target: str, opcode: Opcode, *headers: Header) -> Kind:
    """A packet whose PSN is the starting one of whoever asks."""
    scene = Scene()
    scene.roce(source, target, BTH(opcode=opcode), *headers, payload=bytes(8 * (not headers)))
    asks = source if opcode.is_request else target
    start = LINK + IP + UDP
    return Kind(
        scene.frames[0],
        lambda batch: (
            (*field_at(BTH.dest_qp, start), batch.qpn(target)),
            (*field_at(BTH.psn, start), batch.psn(asks)),
        ),
    )


def cm(
    source: str, target: str, attribute: int, message: Header, **values: Callable[[Batch], Column]
) -> Kind:
    """A CM datagram with `values` by field name."""
    scene = Scene()
    headers = BTH(opcode=Opcode.UD_SEND_ONLY, dest_qp=1), DETH(q_key=0x80010000, src_qp=1)
    scene.roce(source, target, *headers, payload=mad(attribute, message))
    start = LINK + IP + UDP + BTH.size + DETH.size + MAD.size
    return Kind(
        scene.frames[0],
        lambda batch: [
            (*field_at(getattr(type(message), name), start), value(batch))
            for name, value in values.items()
        ],
    )


def said(
    source: str,
    target: str,
    text: str,
    port: Callable[[Batch], Column],
    sequence: Callable[[Batch], Column],
    **flags: int,
) -> Kind:
    """A TCP segment of A or B; the QPN stands in `text` at the first q, the PSN at the first p."""
    scene = Scene()
    scene.tcp((source, 18515), (target, 18515), text.encode(), **flags)
    start = LINK + IP
    mine = TCP.src_port if source == A else TCP.dst_port

    def values(batch: Batch) -> Sequence[tuple[int, int, Column]]:
        digits = [
            (start + TCP.size + text.index(letter), 6, hexadecimal(number))
            for letter, number in (("q", batch.qpn(source)), ("p", batch.psn(source)))
            if letter in text
        ]
        return [
            (*field_at(mine, start), port(batch)),
            (*field_at(TCP.sequence, start), sequence(batch)),
            *digits,
        ]

    return Kind(scene.frames[0], values, roce=False)


def hexadecimal(values: Column) -> Column:
    """Six digits of each value, as one number of six bytes."""
    text: Column = np.zeros_like(values)
    for digit in range(6):
        nibble = values >> (4 * (5 - digit)) & 15
        text = text << 8 | nibble + np.where(nibble < 10, 48, 87)
    return text


ACKED = AETH(syndrome=0x1F, msn=1)
DATA = (
    rdma(A, B, Opcode.RC_SEND_ONLY),
    rdma(B, A, Opcode.RC_ACKNOWLEDGE, ACKED),
    rdma(B, A, Opcode.RC_SEND_ONLY),
    rdma(A, B, Opcode.RC_ACKNOWLEDGE, ACKED),
)
CM = (
    # The receiver chooses: each tells the PSN that its peer will start with.
    cm(A, B, 0x10, CM_REQ(path_mtu=3), local_comm_id=lambda b: b.number + 1,
       local_qpn=lambda b: b.qpn(A), starting_psn=lambda b: b.psn(B)),
    cm(B, A, 0x13, CM_REP(), local_comm_id=lambda b: b.number + 7, local_qpn=lambda b: b.qpn(B),
       remote_comm_id=lambda b: b.number + 1, starting_psn=lambda b: b.psn(A)),
    cm(A, B, 0x14, CM_RTU(), local_comm_id=lambda b: b.number + 1,
       remote_comm_id=lambda b: b.number + 7),
)  # fmt: skip
MAPPED = "00:" * 10 + "ff:ff:0a:4d:00:0"
LINE = "0000:0001:qqqqqq:pppppp:00001234:00007f0000000000:{gid}:00000000:\0"
PERFTEST = tuple(
    said(source, target, LINE.format(gid=MAPPED + last), lambda b: 20_000 + b.number // QPS,
         lambda b: b.number % QPS * len(LINE.format(gid=MAPPED + "0")), ack=1, psh=1)
    for source, target, last in ((A, B, "2"), (B, A, "1"))
)  # fmt: skip
WORDS = "0000:qqqqqq:pppppp:{gid}\0"
PINGPONG = tuple(
    said(source, target, text, lambda b: 1024 + b.number % PORTS,
         lambda b, first=first: np.full_like(b.number, first), **flags)
    for source, target, text, first, flags in (
        (A, B, "", 0, {"syn": 1}),
        (B, A, "", 0, {"syn": 1, "ack": 1, "acknowledgement": 1}),
        (A, B, WORDS.format(gid="0" * 20 + "ffff0a4d0002"), 1, {"ack": 1, "psh": 1}),
        (B, A, WORDS.format(gid="0" * 20 + "ffff0a4d0001"), 1, {"ack": 1, "psh": 1, "fin": 1}),
    )
)  # fmt: skip


def write(path: Path, connections: int, kinds: Sequence[Kind], drawn: type[Batch] = Batch) -> None:
    """A pcap (nanoseconds) of `connections`, each with a packet of every one of `kinds`."""
    lengths = [len(kind.frame) for kind in kinds]
    with path.open("wb") as stream:
        stream.write(np.array([0xA1B23C4D, 2 | 4 << 16, 0, 0, 1 << 18, 1], "<u4").tobytes())
        for first in range(0, connections, BATCH):
            batch = drawn(np.arange(first, min(first + BATCH, connections)))
            parts = []
            for place, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
                time_ns = START + (batch.number * len(kinds) + place) * 10_000
                record = np.empty((len(batch.number), 4), "<u4")
                record[:, 0], record[:, 1] = time_ns // 10**9, time_ns % 10**9
                record[:, 2:] = length
                parts += [record.view(np.uint8), kind.frames(batch)]
            stream.write(np.hstack(parts).tobytes())


def truth(folder: Path, connections: int) -> list[str]:
    """Logs of both ends, as `lab.endpoint` writes them; the options that give them."""
    options = []
    batch = Batch(np.arange(connections))
    ends = {ip: (batch.qpn(ip).tolist(), batch.psn(ip).tolist()) for ip in (A, B)}
    for role, me, you in (("client", A, B), ("server", B, A)):
        path = folder / f"truth-{role}.jsonl"
        options += ["--truth", str(path)]
        with path.open("w") as stream:
            for number in range(connections):
                local, remote = (
                    {"qpn": ends[ip][0][number], "sq_psn": ends[ip][1][number], "ip": ip}
                    | {"gid": GIDS[ip], "path_mtu": 1024, "addr": 0, "r_key": 0, "length": 4096}
                    for ip in (me, you)
                )
                common = {"time_ns": START + number * 40_000 - 1000, "connection": number}
                told = {"event": "negotiated", "role": role, "local": local, "remote": remote}
                state = {"event": "qp_state", "qpn": local["qpn"], "from": "INIT", "to": "RTR"}
                given = {"attributes": {"rq_psn": remote["sq_psn"]}}
                done = {"event": "work", "opcode": "IBV_WR_SEND", "wr_id": 1, "length": 8}
                for line in (told, state | given, done | {"status": "IBV_WC_SUCCESS"}):
                    stream.write(json.dumps(common | line) + "\n")
    return options


def printed(folder: Path, connections: int) -> list[str]:
    """What a perftest program with so many queue pairs prints; the option that gives it."""
    path = folder / "perftest.txt"
    batch = Batch(np.arange(connections))
    with path.open("w") as stream:
        for side, ip in (("local", A), ("remote", B)):
            gid = "00:" * 10 + "255:255:" + ":".join(f"{int(n):02}" for n in ip.split("."))
            for qpn, psn in zip(batch.qpn(ip).tolist(), batch.psn(ip).tolist(), strict=True):
                stream.write(f" {side} address: LID 0000 QPN {qpn:#06x} PSN {psn:#x} RKey 0x0\n")
                stream.write(f" GID: {gid}\n")
    return ["--log", str(path)]


def nothing(_folder: Path, _connections: int) -> list[str]:
    """No option."""
    return []


def secure(path: Path, connections: int) -> None:
    """Our own exchange inside TLS, a session for each connection."""
    secure_flow(connections).write(path)


SOURCES: dict[str, tuple[Sequence[Kind], Callable[[Path, int], list[str]], int]] = {
    "none": (DATA, nothing, 3),
    "rdma-cm": (CM + DATA, nothing, 0),
    "perftest": (PERFTEST + DATA, nothing, 0),
    "perftest --log": (DATA, printed, 0),
    "pingpong": (PINGPONG + DATA, nothing, 0),
    "truth": (DATA, truth, 0),
    "rocelab (TLS)": ((), nothing, 0),
}
"""Packets of each connection, what is given beside the capture, the exit status expected."""
TLS_PART = 100
"""A TLS session takes so many times as long as a connection: that part of them is judged."""


MATCHES = re.compile(rb"directions: in (\d+) the first request carries the announced PSN")


def measure(source: str, connections: int, folder: Path, *form: str) -> None:
    """Generate, judge, print a row."""
    kinds, beside, status = SOURCES[source]
    path = folder / "bench.pcap"
    if kinds:
        write(path, connections, kinds)
    else:
        connections //= TLS_PART
        secure(path, connections)
    options = beside(folder, connections)
    done = rocelab(["verify", str(path), *options, *form])
    found = MATCHES.search(done.output)
    matches = -1 if found is None else int(found[1])
    expected = 0 if source == "none" else 2 * connections
    as_expected = (done.status, matches) == (status, expected)
    note = "" if as_expected else f"  exit status {done.status}, {matches} directions match"
    each = done.seconds / connections * 10_000
    print(row(source, connections, path.stat().st_size, done, each=each, note=note), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", default="10000,30000,100000")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--json", action="store_true", help="judge into the JSON document")
    given = parser.parse_args()
    form = ("--json",) if given.json else ()
    print(heads("source", "s/10k"))
    for source in given.sources.split(","):
        for connections in map(int, given.connections.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                measure(source, connections, Path(folder), *form)


if __name__ == "__main__":
    main()
