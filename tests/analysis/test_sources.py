"""Every source of negotiated values and every verdict of a direction, as `sources.toml` has it.

Each source has a capture with a connection that matches (real Soft-RoCE where there is one). The
same capture with its RDMA packets edited, ICRC computed anew, gives every other verdict.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import captures
from analysis.document import document
from analysis.finding import PsnVerdict
from analysis.verify import verify
from captures.pcapng_writer import Writer
from dissectors import psn as serial
from dissectors.bth import BTH
from dissectors.opcode import BY_VALUE
from dissectors.packet import Packet
from tests.analysis import scene as scenes
from tests.analysis.scene import Connection, End, Scene
from tests.analysis.test_exchanges import LINK_LOCAL, multi_client
from tests.requires import tool

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"
TABLE = tomllib.loads(Path(__file__).with_name("sources.toml").read_text())
SOURCES = ["rocelab", "rdma-multi-client", "rdma-cm", "pingpong", "perftest", "truth", "expect"]
VERDICTS = [
    "match",
    "mismatch",
    "swapped",
    "off-by-n",
    "missing",
    "not-captured",
    "copies-disagree",
]
ELSEWHERE = 0x123456
"""So far off is another number altogether."""
BESIDE = 3
FALSE = 0x777777
"""A PSN that nobody announced."""


@dataclass(frozen=True)
class Base:
    """A capture that matches: both ends with the PSNs they start with, and what is given beside.

    `falsely` gives what is beside it where somebody tells another PSN of A.
    """

    frames: list[bytes]
    a: End
    b: End
    beside: Mapping[str, object] = field(default_factory=dict)
    falsely: Callable[[Base], Base] | None = None
    key_log: str = ""


def sample(name: str) -> list[bytes]:
    return [frame.data for frame in captures.open(SAMPLES / f"{name}.pcap").frames()]


def logs(folder: Path, a: End, b: End, **changed: object) -> dict[str, object]:
    return {"truth": Connection(Scene(), a, b).truth(folder, **changed)}


def expecting(*ends: End) -> dict[str, object]:
    return {"expect": [f"{end.ip}:{end.qpn:#x}={end.sq_psn:#x}" for end in ends]}


def printed(folder: Path, text: str) -> dict[str, object]:
    path = folder / "printed.txt"
    path.write_text(text)
    return {"log": [path]}


def rocelab(folder: Path) -> Base:
    """TLS by the ssl module; the RDMA packets as rxe sends them."""
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    connection.talk()
    ends = connection.a, connection.b
    # The server's log says of A what the exchange did not.
    false = logs(folder, *ends, sq_psn=FALSE)
    return Base(scene.frames, *ends, falsely=lambda base: replace(base, beside=false),
                key_log=scene.key_log)  # fmt: skip


def rdma_multi_client(folder: Path) -> Base:
    """Both ends have queue pair 0x11, RoCE over link-local IPv6; the PSN is sent twice."""
    ends = [End(ip, 0x11, psn) for ip, psn in zip(LINK_LOCAL, (0x6436E9, 0x1B2C3D), strict=True)]
    scene, other = multi_client(), multi_client(copies=(FALSE, 0x1B2C3D))
    return Base(
        scene.frames,
        *ends,
        falsely=lambda base: replace(base, frames=other.frames, key_log=other.key_log),
        key_log=scene.key_log,
    )


def rdma_cm(folder: Path) -> Base:
    """rping; the PSNs are those that tshark reads in REQ and REP."""
    ends = End("10.77.0.2", 0x19, 0x0BF2A4), End("10.77.0.1", 0x19, 0x90D98C)
    false = expecting(replace(ends[0], sq_psn=FALSE))
    return Base(sample("rxe61_cm_rping"), *ends, falsely=lambda base: replace(base, beside=false))


PINGPONG = """\
  local address:  LID 0x0000, QPN 0x000011, PSN 0x777777, GID ::ffff:10.77.0.2
  remote address: LID 0x0000, QPN 0x000011, PSN 0xb918e6, GID ::ffff:10.77.0.1
"""


def pingpong(folder: Path) -> Base:
    """ibv_rc_pingpong with its exchange in clear on TCP 18515."""
    ends = End("10.77.0.2", 0x11, 0x2B3E1A), End("10.77.0.1", 0x11, 0xB918E6)
    return Base(
        sample("rxe61_ibv_rc_pingpong"),
        *ends,
        falsely=lambda base: replace(base, beside=printed(folder, PINGPONG)),
    )


PERFTEST = """\
 local address: LID 0000 QPN 0x001d PSN 0x777777 RKey 0x000f36 VAddr 0x0055c54e883000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:02
 remote address: LID 0000 QPN 0x001d PSN 0xe6943e RKey 0x000ece VAddr 0x005606bb50d000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:01
"""


def perftest(folder: Path) -> Base:
    """ib_atomic_lat with its exchange in clear; the server sends no request."""
    ends = End("10.77.0.2", 0x1D, 0x817C7E), End("10.77.0.1", 0x1D, 0xE6943E)
    return Base(
        sample("rxe61_perftest_atomic_lat"),
        *ends,
        falsely=lambda base: replace(base, beside=printed(folder, PERFTEST)),
    )


def truth(folder: Path) -> Base:
    """A pyverbs script that set these PSNs (samples' README); B sends no request."""
    ends = End("10.77.0.2", 0x11, 0xC0FFEE), End("10.77.0.1", 0x11, 0x5EC001)
    told = logs(folder, *ends)

    def falsely(base: Base) -> Base:
        return replace(base, beside=logs(folder, *ends, sq_psn=FALSE))

    return Base(sample("rxe61_pyverbs_rc"), *ends, told, falsely)


def expect(folder: Path) -> Base:
    """A userspace endpoint (0.254, its PSN in the samples' README) and rxe: both send."""
    ends = End("10.77.0.1", 0x11, 0xAAA000), End("10.77.0.254", 0x123456, 0x333333)
    # Endpoint logs that contradict what the user says.
    false = expecting(ends[0]) | logs(folder, *ends, sq_psn=FALSE)
    return Base(
        sample("rxe61_interop_host_tap"),
        *ends,
        expecting(*ends),
        lambda base: replace(base, beside=false),
    )


BASES = {
    "rocelab": rocelab,
    "rdma-multi-client": rdma_multi_client,
    "rdma-cm": rdma_cm,
    "pingpong": pingpong,
    "perftest": perftest,
    "truth": truth,
    "expect": expect,
}


def line_of(packet: Packet, base: Base) -> str:
    """Whose PSNs a packet counts: those of its sender's requests, or of the requests it answers."""
    opcode = BY_VALUE[packet[BTH].opcode] if BTH in packet else None
    if opcode is None or packet[BTH].dest_qp < 2:
        return ""
    from_a = packet.ends[0] == base.a.ip
    return "a" if from_a == opcode.is_request else "b"


def moved(base: Base, **by: int) -> Base:
    """All PSNs of a line (`a`, `b`) moved by so many."""
    frames = []
    for frame in base.frames:
        packet = Packet.parse(frame)
        distance = by.get(line_of(packet, base), 0)
        if not distance:
            frames.append(frame)
            continue
        bth = packet[BTH].replace(psn=serial.add(packet[BTH].psn, distance))
        headers = tuple(bth if isinstance(h, BTH) else h for h in packet.headers)
        frames.append(Packet(headers, packet.payload, packet.pad).build())
    return replace(base, frames=frames)


def without(base: Base, line: str, first: int = 1 << 24) -> Base:
    """The first PSNs of a line, or all, cut out with their answers."""
    start = base.a.sq_psn if line == "a" else base.b.sq_psn

    def stays(frame: bytes) -> bool:
        packet = Packet.parse(frame)
        mine = line_of(packet, base) == line
        return not (mine and serial.forward(start, packet[BTH].psn) < first)

    return replace(base, frames=[frame for frame in base.frames if stays(frame)])


EDITS: dict[str, Callable[[Base], Base]] = {
    "match": lambda base: base,
    "mismatch": lambda base: moved(base, a=ELSEWHERE),
    "swapped": lambda base: moved(
        base,
        a=serial.forward(base.a.sq_psn, base.b.sq_psn),
        b=serial.forward(base.b.sq_psn, base.a.sq_psn),
    ),
    "off-by-n": lambda base: moved(base, a=BESIDE),
    "missing": lambda base: without(base, "a"),
    "not-captured": lambda base: without(base, "a", first=1),
    "copies-disagree": lambda base: base.falsely(base) if base.falsely else base,
}


def judged(base: Base, path: Path):
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.interface("eth0")
        writer.secrets(base.key_log)
        for number, frame in enumerate(base.frames):
            writer.packet(frame, scenes.START + number * 100_000)
    return verify(path, **base.beside)


def told_by(base: Base, document):
    """The connection that something told of: who did, and the verdicts from A and from B."""
    connection = next(c for c in document["connections"] if c["negotiated_by"])
    verdicts = {connection[d["from"]]["ip"]: d["verdict"] for d in connection["directions"]}
    return connection["negotiated_by"], [verdicts[end.ip] for end in (base.a, base.b)]


def test_the_table_is_whole():
    """A row for every source and verdict that the document may name."""
    assert list(BASES) == SOURCES
    assert list(EDITS) == VERDICTS
    assert {v.value for v in PsnVerdict} == {*VERDICTS, "not-negotiated"}
    assert {(source, verdict) for source, rows in TABLE.items() for verdict in rows} == {
        (source, verdict) for source in SOURCES for verdict in VERDICTS
    }


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("source", SOURCES)
def test_source_and_verdict(source, verdict, tmp_path, monkeypatch):
    if source in ("rocelab", "rdma-multi-client"):
        tool("tshark")
    else:
        monkeypatch.setenv("PATH", "/nonexistent")
    base = EDITS[verdict](BASES[source](tmp_path))
    told = document(judged(base, tmp_path / "case.pcapng"))
    row = TABLE[source][verdict]
    negotiated_by, directions = told_by(base, told)
    assert directions == row["directions"]
    assert directions[0] == verdict
    assert told["verdict"] == row["verdict"]
    assert sorted({f["code"] for f in told["findings"]}) == row["codes"]
    assert negotiated_by == row.get("negotiated_by", source)
