"""ERF files beside tshark and editcap, and such as lie."""

from __future__ import annotations

import gzip
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

import captures
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from tests.captures.files import SAMPLES, erf
from tests.dissectors import matrix, tshark
from tests.requires import tool

START = 1_700_000_000 << 32
QUARTER = 1 << 30
SAID = ("number", "time_epoch", "cap_len", "len", "interface_id", "interface_name")


def packet(carrier: str) -> bytes:
    _, headers, trailer = matrix.CARRIERS[carrier]
    return matrix.roce(Opcode.RC_SEND_ONLY, headers, trailer).build()


def extension(kind: int, *, more: bool = False) -> bytes:
    return bytes([kind | more << 7]) + bytes(range(1, 8))


IB, ETHERNET = packet("infiniband"), packet("ipv4")
V4, V6 = packet("raw-ipv4"), packet("raw-ipv6")
RECORDS = {
    "infiniband": erf(21, IB, START + 1),
    "ethernet, rounded up": erf(2, ETHERNET, START + 2 * QUARTER + 7, flags=5, between=bytes(2)),
    "coloured ethernet, back in time": erf(11, ETHERNET, START + QUARTER, between=bytes(2)),
    "dsm ethernet": erf(16, ETHERNET, START + QUARTER, flags=6, between=bytes(2)),
    "hashed ethernet": erf(20, ETHERNET, START + 3 * QUARTER, between=bytes(2)),
    "ipv4": erf(22, V4, START + 4 * QUARTER, flags=7),
    "ipv6": erf(23, V6, START + 5 * QUARTER + 3),
    "padding": erf(48, b""),
    "one extension": erf(21 | 0x80, IB, START + 6 * QUARTER, between=extension(3)),
    "two extensions": erf(
        21 | 0x80, IB, START + 6 * QUARTER, between=extension(4, more=True) + extension(3)
    ),
    "ethernet with extension": erf(
        2 | 0x80, ETHERNET, START + 6 * QUARTER, between=extension(5) + bytes(2)
    ),
    "cut": erf(2, ETHERNET[:60], START + 7 * QUARTER, wire=len(ETHERNET), between=bytes(2)),
    "link": erf(25, bytes(12), START + 7 * QUARTER),
    "metadata": erf(27, bytes(16), START + 7 * QUARTER),
    "multi-channel": erf(5, bytes(20), START + 8 * QUARTER, between=bytes(4)),
    "short on the wire": erf(21, IB, START + 8 * QUARTER, wire=4),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "x.erf"
    found.write_bytes(b"".join(RECORDS.values()))
    return found


def test_frames_as_tshark_has_them(path: Path) -> None:
    tool("tshark")
    asked = [part for name in SAID for part in ("-e", f"frame.{name}")]
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    capture = captures.open(path)
    frames = list(capture.frames())
    assert capture.damage == ()
    # tshark counts the packet, we the record with the headers before it.
    starts = [16, 18, 18, 18, 18, 16, 16, 24, 32, 26, 18, 16, 16, 20, 16]
    expected = [line.split("\t") for line in said.splitlines()]
    for frame, start, theirs in zip(frames, starts, expected, strict=True):
        number, time, length, wire, interface, name = theirs
        assert frame.number == int(number)
        assert frame.time_ns == int(Decimal(time) * 10**9)
        assert len(frame.data) == int(length) + start
        assert frame.original_length == int(wire) + start
        assert frame.interface == int(interface)
        assert name.startswith(capture.interfaces[frame.interface].name)


def test_queue_pairs_and_psns_as_tshark_has_them(path: Path) -> None:
    names = ["infiniband.bth.psn", "infiniband.bth.destqp", "erf.rlen", "erf.wlen"]
    theirs = tshark.values(path, names)
    frames = list(captures.open(path).frames())
    for frame, said in zip(frames, theirs, strict=True):
        parsed = Packet.parse(frame.data, frame.link_type, frame.original_length)
        bth = parsed.get(BTH)
        assert said[names[0]] == ([bth.psn] if bth else [])
        assert said[names[1]] == ([bth.dest_qp] if bth else [])
        record = parsed.headers[0]
        assert [record.record_length, record.wire_length] == [
            said["erf.rlen"][0],
            said["erf.wlen"][0],
        ]


def test_what_editcap_makes_of_it(path: Path) -> None:
    # Of this version: it writes ERF records into pcapng, but no ERF files.
    tool("editcap")
    target = path.with_suffix(".pcapng")
    subprocess.run(["editcap", "-F", "pcapng", path, target], capture_output=True, check=True)

    def known(path: Path) -> list[tuple[object, ...]]:
        # editcap sets the record's length to that of the record without alignment.
        return [
            (frame.number, frame.time_ns, frame.data[:10], frame.data[12:], frame.original_length)
            for frame in captures.open(path).frames()
        ]

    assert known(path) == known(target)


def test_frames_lie_where_their_offset_says(path: Path) -> None:
    content = path.read_bytes()
    for frame in captures.open(path).frames():
        assert content[frame.offset : frame.offset + len(frame.data)] == frame.data


def test_a_table_of_erf(path: Path) -> None:
    table = captures.open(path).table()
    assert table["bth_psn"][:7].tolist() == [0xFFFFFE] * 7
    assert table["interface"].tolist() == [0, 1, 0, 2, 0, 3] + [0] * 9


def test_compressed(path: Path) -> None:
    packed = path.with_suffix(".erf.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(captures.open(packed).frames()) == list(captures.open(path).frames())


SOUND = [RECORDS["infiniband"], RECORDS["ethernet, rounded up"]]
BEFORE = sum(map(len, SOUND))


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_record_shorter_than_its_header(length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.erf"
    path.write_bytes(b"".join([*SOUND, *SOUND[:1], erf(21, IB, START, length=length), *SOUND]))
    capture = captures.open(path)
    assert len(list(capture.frames())) == 3
    (damage,) = capture.damage
    assert damage.offset == BEFORE + len(SOUND[0])
    assert f"at least 16 bytes, found a length of {length}" in damage.message


def test_a_record_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.erf"
    path.write_bytes(b"".join([*SOUND, *SOUND[:1], erf(21, IB, START, length=65535)]))
    capture = captures.open(path)
    assert len(list(capture.frames())) == 3
    (damage,) = capture.damage
    assert damage.offset == BEFORE + len(SOUND[0])
    assert f"65535 bytes, found {len(SOUND[0])} before the end" in damage.message


def test_every_truncation(path: Path) -> None:
    whole = list(captures.open(path).frames())
    content = path.read_bytes()
    ends = {frame.offset: frame for frame in whole}
    for length in range(len(RECORDS["infiniband"]), len(content)):
        path.write_bytes(content[:length])
        capture = captures.open(path)
        frames = list(capture.frames())
        assert frames == whole[: len(frames)]
        at_record = length in ends or length in _records()
        assert bool(capture.damage) != at_record
        if capture.damage:
            assert capture.damage[0].offset == max(at for at in _records() if at < length)


def _records() -> list[int]:
    """Where records begin."""
    return [sum(map(len, list(RECORDS.values())[:n])) for n in range(len(RECORDS) + 1)]


def test_extension_headers_without_end(tmp_path: Path) -> None:
    endless = extension(3, more=True) * 4
    path = tmp_path / "x.erf"
    path.write_bytes(SOUND[0] + erf(21 | 0x80, b"", START, between=endless) + SOUND[0])
    first, second, third = captures.open(path).frames()
    assert first.data[24:] == third.data[24:]
    assert second.data[16:] == endless
    assert Packet.parse(second.data, 197, second.original_length).get(BTH) is None


@pytest.mark.parametrize(
    "content",
    [
        b"a text of some length, the eighth\nbyte and others of which are letters",
        bytes(400),
        b"\xff" * 400,
        bytes(range(256)) * 4,
        SAMPLES[0].read_bytes()[24:],
        RECORDS["infiniband"][:-1],
        RECORDS["padding"],
        erf(0, IB, START),
        erf(21, IB, START) + erf(21, IB, START + (800 * 24 * 3600 << 32)),
    ],
    ids=["text", "zeros", "ones", "bytes", "headless", "torn", "padding", "legacy", "two years"],
)
def test_what_is_not_taken_for_erf(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(captures.CaptureError, match="expected a pcap, pcapng or ERF file"):
        captures.open(path)
