"""Every kind of file beside tshark: byte orders, resolutions, sections, interfaces, comments, link
types; each compressed in every way and from standard input.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard

import captures
from captures import tables
from captures.model import Frame
from tests.captures.files import block, enhanced, erf, interface, option, pcap, section
from tests.dissectors import matrix, tshark
from tests.requires import tool

FRAMES = [frame for _, frame in matrix.by_link_type()[1][:40:4]]
SECOND = 1_700_000_000
NANO = 0xA1B23C4D
KEY_LOG = b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\n"
SAID = ("number", "time_epoch", "cap_len", "len", "interface_name", "comment")


def records(fraction: int) -> list[tuple[int, int, bytes]]:
    return [(SECOND + at, fraction - at, data) for at, data in enumerate(FRAMES)]


def named(name: str, order: str, *more: bytes, link: int = 1) -> bytes:
    options = option(2, name.encode(), order) + b"".join(more) + option(0, b"", order)
    return interface(link, options=options, order=order)


def clock(order: str, resolution: int, offset: int | None = None) -> bytes:
    told = option(9, bytes([resolution]), order)
    return told if offset is None else told + option(14, struct.pack(order + "q", offset), order)


def one_section(order: str) -> bytes:
    """Interfaces with clocks of their own, and every other block between their packets."""
    ticks = {0: SECOND * 10**6 + 7, 1: SECOND * 10**9 + 7, 2: SECOND << 20 | 5, 3: 10**3}
    others = (
        block(4, option(0, b"", order), order),
        block(5, struct.pack(order + "III", 0, 0, 0), order),
        block(10, struct.pack(order + "II", 0x544C534B, len(KEY_LOG)) + KEY_LOG, order),
        block(0x0BAD, struct.pack(order + "I", 32473) + bytes(8), order),
        block(0x40000BAD, struct.pack(order + "I", 32473) + bytes(8), order),
        block(0x7777, bytes(40), order),
    )
    parts = [
        section(order),
        named("micro", order),
        named("nano", order, clock(order, 9)),
        named("binary", order, clock(order, 0x80 | 20)),
        named("offset", order, clock(order, 3, SECOND)),
    ]
    for at, data in enumerate(FRAMES):
        comments = [option(1, f"remark {n} of {at}".encode(), order) for n in range(at % 3)]
        options = b"".join([*comments, option(0, b"", order)]) if comments else b""
        number = at % 4
        parts += [enhanced(number, ticks[number] + at, data, options, order), others[at % 6]]
    return b"".join(parts)


def obsolete(order: str) -> bytes:
    """Packet blocks as they were before enhanced ones, and a frame cut at its capture."""
    parts = [section(order), named("first", order), named("second", order, clock(order, 9))]
    for at, data in enumerate(FRAMES):
        ticks = SECOND * (10**6, 10**9)[at % 2] + at
        lengths = (ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data) + at)
        head = struct.pack(order + "HHIIII", at % 2, 0xFFFF, *lengths)
        parts.append(block(2, head + data + bytes(-len(data) % 4), order))
    return b"".join(parts)


CONTAINERS = {
    **{
        f"pcap {unit} {order}": pcap(*records(fraction), order=order, magic=magic)
        for order in "<>"
        for unit, magic, fraction in (("us", 0xA1B2C3D4, 999_999), ("ns", NANO, 999_999_999))
    },
    **{f"pcapng {order}": one_section(order) for order in "<>"},
    **{f"pcapng obsolete {order}": obsolete(order) for order in "<>"},
    "pcapng sections": one_section("<") + obsolete(">") + one_section(">"),
    "pcapng without packets": section() + interface(),
    "erf": b"".join(
        erf(2, data, SECOND + at << 32 | at * 0x1234567, flags=at % 4, between=bytes(2))
        for at, data in enumerate(FRAMES)
    ),
}
COMPRESSORS = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstandard.compress}


def known(capture: captures.Capture, frame: Frame) -> tuple[object, ...]:
    # tshark does not count the header of an ERF record.
    before = 18 if frame.link_type == 197 else 0
    lengths = (len(frame.data) - before, frame.original_length - before)
    port = capture.interfaces[frame.interface].name
    return (frame.number, frame.time_ns, *lengths, port, frame.comment)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_frames_as_tshark_has_them(kind: str, tmp_path: Path) -> None:
    tool("tshark")
    path = tmp_path / "x"
    path.write_bytes(CONTAINERS[kind])
    asked = [part for name in SAID for part in ("-e", f"frame.{name}")]
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "aggregator=/s", *asked]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # tshark lists custom blocks as frames without a time; we count packets alone.
    rows = [row for row in (line.split("\t") for line in said.splitlines()) if row[1]]
    theirs = [
        (number, int(Decimal(time) * 10**9), int(captured), int(length),
         port.partition(" (")[0], comment.replace(" remark", "\nremark"))
        for number, (_, time, captured, length, port, comment) in enumerate(rows, 1)
    ]  # fmt: skip
    capture = captures.open(path)
    ours = [known(capture, frame) for frame in capture.frames()]
    # This tshark names a later section's interfaces as the first section's.
    there = slice(0, len(FRAMES) if kind == "pcapng sections" else None)
    assert [frame[4] for frame in ours[there]] == [frame[4] for frame in theirs[there]]
    assert [frame[:4] + frame[5:] for frame in ours] == [frame[:4] + frame[5:] for frame in theirs]
    assert capture.damage == ()
    assert bool(capture.secrets) == (kind in ("pcapng <", "pcapng >", "pcapng sections"))


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("packed", COMPRESSORS)
def test_compressed_is_the_same(kind: str, packed: str, tmp_path: Path) -> None:
    plain, path = tmp_path / "x", tmp_path / f"x.{packed}"
    plain.write_bytes(CONTAINERS[kind])
    path.write_bytes(COMPRESSORS[packed](CONTAINERS[kind]))
    ours, expected = captures.open(path), captures.open(plain)
    assert list(ours.frames()) == list(expected.frames())
    assert (ours.interfaces, ours.secrets, ours.damage) == (
        expected.interfaces,
        expected.secrets,
        (),
    )


@pytest.mark.parametrize("kind", ["pcap ns >", "pcapng sections", "erf"])
@pytest.mark.parametrize("packed", ["", *COMPRESSORS])
def test_standard_input_is_the_same(kind: str, packed: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTAINERS[kind])
    content = COMPRESSORS.get(packed, bytes)(CONTAINERS[kind])
    code = "import captures; print(*captures.open('-').frames(), sep='\\n')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    expected = "".join(f"{frame}\n" for frame in captures.open(path).frames())
    assert done.stdout.decode() == expected


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if "without" not in kind])
@pytest.mark.parametrize("packed", ["", *COMPRESSORS])
def test_a_torn_end_keeps_all_before_it(kind: str, packed: str, tmp_path: Path) -> None:
    content = CONTAINERS[kind]
    whole = tmp_path / "whole"
    whole.write_bytes(content)
    frames = list(captures.open(whole).frames())
    path = tmp_path / "torn"
    for missing in (1, 3, 17):
        path.write_bytes(COMPRESSORS.get(packed, bytes)(content[:-missing]))
        capture = captures.open(path)
        left = list(capture.frames())
        # Behind the last packet of some there is a block that is none.
        assert left == frames[: len(left)]
        assert len(left) in (len(frames), len(frames) - 1)
        (damage,) = capture.damage
        assert frames[-2].offset < damage.offset < len(content) - missing


@pytest.mark.parametrize("small", [0, tables.LARGE])
def test_all_link_types_in_one_file(
    small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "LARGE", small)
    # This tshark reads native InfiniBand in ERF only.
    generated = matrix.by_link_type()
    types = sorted(generated.keys() - {247})
    parts = [section(), *(interface(link) for link in types)]
    # In turn, one of each type.
    for at in range(8):
        for number, link in enumerate(types):
            _, frame = generated[link][at * len(generated[link]) // 8]
            parts.append(enhanced(number, at, frame))
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"".join(parts))
    table = captures.open(path).table()
    names = ["infiniband.bth.opcode", "infiniband.bth.psn", "infiniband.bth.destqp"]
    theirs = tshark.values(path, names)
    for row, said in enumerate(theirs):
        column = [table[name][row] for name in ("bth_opcode", "bth_psn", "bth_dest_qp")]
        assert column == [(said[name] or [0])[-1] for name in names], row
    assert len(theirs) == len(table) == 8 * len(types)
    assert sum(bool(said[names[1]]) for said in theirs) > 4 * len(types)
