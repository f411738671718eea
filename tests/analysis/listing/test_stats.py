"""Counts of captures made so that the counts are known, in parts and where memory is bounded."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import captures
from analysis.listing import stats
from captures import index, tables
from dissectors.bth import BTH
from dissectors.hierarchy import MPA_KEYS
from dissectors.ip import IPv4
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.tcp import TCP
from tests.captures.files import pcap
from tests.dissectors import matrix

ETHERNET, IP, UDP = matrix.CARRIERS["ipv4"][1]


def frame(number: int, dest_qp: int, length: int) -> bytes:
    """A SEND of `length` bytes from host `number` to `dest_qp`."""
    bth = BTH(opcode=Opcode.RC_SEND_ONLY, dest_qp=dest_qp, psn=7)
    return Packet((ETHERNET, IP.replace(src=0x0A000000 | number), UDP, bth), bytes(length)).build()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """200 conversations, number n of n packets of n bytes, mixed; and 5 packets of another kind."""
    frames = [frame(n, n % 7, n) for n in range(1, 201) for _ in range(n)] + [bytes(60)] * 5
    Random(1).shuffle(frames)
    found = tmp_path / "x.pcap"
    found.write_bytes(pcap(*[(at, 0, data) for at, data in enumerate(frames)]))
    return found


@pytest.fixture(params=["read one by one", "by compiled code"])
def small_parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LARGE", 1 << 40 if request.param == "read one by one" else 0)
    monkeypatch.setattr(tables, "FRAMES", 3000)
    monkeypatch.setattr(index, "ROWS", 3000)


@pytest.mark.usefixtures("small_parts")
def test_conversations_are_counted_over_all_parts(path: Path) -> None:
    document = stats.counts(captures.open(path), 4791)
    total = 200 * 201 // 2
    assert document["capture"] == {
        "packets": total + 5,
        "roce_packets": total,
        "icrc_ok": total,
        "icrc_bad": 0,
        "icrc_unchecked": 0,
    }
    assert document["opcodes"] == {"RC SEND Only": total}
    assert {tuple(row["protocols"]): row["packets"] for row in document["hierarchy"]} == {
        ("Ethernet", "IPv4", "UDP", "RoCEv2", "RC SEND Only"): total,
        ("Ethernet", "LLC"): 5,
    }
    assert document["conversations"] == [
        {
            "source": f"10.0.0.{n}",
            "destination": IPv4.dst.text(IP.dst),
            "dest_qp": n % 7,
            "packets": n,
            "payload_bytes": n * n,
        }
        for n in range(200, 100, -1)
    ]
    assert document["more_conversations"] == {"conversations": 100, "packets_not_told_apart": 0}


@pytest.mark.usefixtures("small_parts")
def test_the_busiest_are_kept_where_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "KEPT", 50)
    frames = [frame(n, 1, n) for n in range(1, 11) for _ in range(500 + n)]
    frames += [frame(n, 1, 1) for n in range(1000, 4000)]
    Random(1).shuffle(frames)
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(*[(at, 0, data) for at, data in enumerate(frames)]))
    document = stats.counts(captures.open(path), 4791)
    assert [row["packets"] for row in document["conversations"][:10]] == list(range(510, 500, -1))
    assert [row["payload_bytes"] for row in document["conversations"][:2]] == [5100, 509 * 9]
    listed = sum(row["packets"] for row in document["conversations"])
    left_out = document["more_conversations"]["packets_not_told_apart"]
    assert listed + left_out == document["capture"]["roce_packets"] == len(frames)


def test_an_empty_capture(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap())
    document = stats.counts(captures.open(path), 4791)
    assert document["capture"]["packets"] == 0
    assert document["hierarchy"] == document["conversations"] == []


@pytest.mark.usefixtures("small_parts")
def test_iwarp_is_known_in_later_parts(tmp_path: Path) -> None:
    ip = IP.replace(protocol=6)
    handshake = Packet((ETHERNET, ip, TCP()), MPA_KEYS[0] + bytes(4)).build()
    later = Packet((ETHERNET, ip, TCP()), bytes(40)).build()
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap(*[(at, 0, later if at else handshake) for at in range(7000)]))
    document = stats.counts(captures.open(path), 4791)
    tcp = ["Ethernet", "IPv4", "TCP", "iWARP MPA"]
    assert document["hierarchy"] == [
        {"protocols": tcp, "packets": 1},
        {"protocols": [*tcp, "FPDU"], "packets": 6999},
    ]
