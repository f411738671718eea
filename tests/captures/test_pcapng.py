"""pcapng files, with Wireshark's editcap, capinfos and tshark as witnesses."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest

import captures
from captures import convert, model, pcapng
from tests.captures import files
from tests.captures.files import block, enhanced, interface, option, section
from tests.requires import tool

SAMPLE = next(path for path in files.SAMPLES if path.name == "rxe61_pyverbs_rc.pcap")
KEY_LOG = "CLIENT_RANDOM " + "ab" * 32 + " " + "cd" * 48 + "\n"


def save(tmp_path: Path, *blocks: bytes) -> captures.Capture:
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"".join(blocks))
    return captures.open(path)


def run(*command: str | Path) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("order", ["<", ">"])
def test_sections_interfaces_and_packet_blocks(tmp_path: Path, order: str) -> None:
    other = ">" if order == "<" else "<"
    nano = option(9, b"\x09", order)
    offset = option(14, struct.pack(order + "q", 100), order)
    old = struct.pack(order + "HHIIII", 1, 0, 0, 2, 3, 3) + b"old\0"
    capture = save(
        tmp_path,
        section(order),
        interface(1, options=option(2, b"eth0", order), order=order),
        interface(113, options=nano + offset, order=order),
        enhanced(0, 7, b"micro", option(1, b"a remark", order), order),
        block(0x77777777, b"skip", order),
        enhanced(1, 8, b"nano", order=order),
        block(2, old, order),
        block(3, struct.pack(order + "I", 5) + b"plain\0\0\0", order),
        section(other),
        interface(101, snap=4, order=other),
        block(3, struct.pack(other + "I", 9) + b"shor", other),
    )
    frames = list(capture.frames())
    assert capture.damage == ()
    assert [f.data for f in frames] == [b"micro", b"nano", b"old", b"plain", b"shor"]
    assert [f.number for f in frames] == [1, 2, 3, 4, 5]
    assert [f.interface for f in frames] == [0, 1, 1, 0, 2]
    assert [f.link_type for f in frames] == [1, 113, 113, 1, 101]
    assert [f.time_ns for f in frames] == [7000, 100 * 10**9 + 8, 100 * 10**9 + 2, 0, 0]
    assert frames[4].original_length == 9
    assert frames[0].comment == "a remark"
    assert [i.name for i in capture.interfaces] == ["eth0", "", ""]
    content = (tmp_path / "x.pcapng").read_bytes()
    assert all(content[f.offset : f.offset + len(f.data)] == f.data for f in frames)


@pytest.mark.parametrize(
    ("resolution", "ticks", "expected_ns"),
    [
        (0, 3, 3 * 10**9),
        (3, 1500, 1_500_000_000),
        (12, 1_500_000_001_999, 1_500_000_001),
        (0x80 | 10, 1536, 1_500_000_000),
        (0x80 | 40, 3 << 39, 1_500_000_000),
        (0, 2**64 - 1, 2**63 - 1),
    ],
)
def test_timestamp_resolution(
    tmp_path: Path, resolution: int, ticks: int, expected_ns: int
) -> None:
    capture = save(
        tmp_path,
        section(),
        interface(options=option(9, bytes([resolution]))),
        enhanced(0, ticks, b"x"),
    )
    assert [frame.time_ns for frame in capture.frames()] == [expected_ns]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (block(6, bytes(8)), "a packet block"),
        (enhanced(1, 0, b"x"), "found interface 1"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), "found a length of 99"),
        (struct.pack("<II", 6, 0) + bytes(8), "found 0"),
        (struct.pack("<II", 6, 0xFFFFFFFC) + bytes(8), "found 4294967292"),
        (struct.pack("<II", 0x77, 0xFFFFFFFC) + bytes(8), "expected a block of 4294967292"),
        (struct.pack("<II", 6, 33) + bytes(40), "in steps of 4"),
        (enhanced(0, 0, b"x")[:-4] + bytes(4), "again at its end"),
        (enhanced(0, 0, b"x")[:-5], "before the end"),
        (b"\x06\0\0", "found 3 bytes"),
        (section()[:8] + b"\0" * 20, "magic"),
    ],
)
def test_damage_keeps_what_came_before(tmp_path: Path, bad: bytes, words: str) -> None:
    good = section() + interface() + enhanced(0, 0, b"good")
    capture = save(tmp_path, good, bad)
    assert [frame.data for frame in capture.frames()] == [b"good"]
    (damage,) = capture.damage
    assert words in damage.message
    assert damage.offset == len(good)


def test_a_file_without_a_whole_section_header(tmp_path: Path) -> None:
    with pytest.raises(captures.CaptureError, match="section header"):
        list(save(tmp_path, section()[:6], bytes(30)).frames())


def test_options_that_lie_end_the_options(tmp_path: Path) -> None:
    lying = option(1, b"kept") + struct.pack("<HH", 1, 60000) + b"abcd"
    capture = save(tmp_path, section(), interface(), enhanced(0, 0, b"x", lying))
    assert [frame.comment for frame in capture.frames()] == ["kept"]


def test_secrets_and_drop_counts(tmp_path: Path) -> None:
    body = struct.pack("<II", 0x544C534B, len(KEY_LOG)) + KEY_LOG.encode()
    body += bytes(-len(body) % 4)
    counts = option(4, struct.pack("<Q", 12)) + option(5, struct.pack("<Q", 3))
    capture = save(
        tmp_path,
        section(),
        interface(),
        block(10, body),
        enhanced(0, 0, b"x"),
        block(5, struct.pack("<III", 0, 0, 0) + counts),
    )
    assert capture.secrets == KEY_LOG
    assert (capture.interfaces[0].received, capture.interfaces[0].dropped) == (12, 3)


def test_editcap_reads_and_agrees(tmp_path: Path) -> None:
    tool("editcap", "tshark")
    other = tmp_path / "editcap.pcapng"
    keys = tmp_path / "keys"
    keys.write_text(KEY_LOG)
    run("editcap", "--inject-secrets", f"tls,{keys}", SAMPLE, other)
    theirs = captures.open(other)
    assert theirs.secrets == KEY_LOG
    ours = list(captures.open(SAMPLE).frames())
    assert [(f.time_ns, f.data) for f in theirs.frames()] == [(f.time_ns, f.data) for f in ours]


def test_wireshark_reads_what_we_write(tmp_path: Path) -> None:
    tool("capinfos", "tshark", "editcap")
    path = tmp_path / "ours.pcapng"
    count = convert.to_pcapng(
        SAMPLE, path, key_log=KEY_LOG, name="veth0", filter="udp port 4791", received=70, dropped=2
    )
    shown = run("tshark", "-r", path, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len",
                "-e", "frame.interface_name")  # fmt: skip
    expected = [
        f"{f.time_ns // 10**9}.{f.time_ns % 10**9:09}\t{f.original_length}\tveth0"
        for f in captures.open(SAMPLE).frames()
    ]
    assert shown.splitlines() == expected
    assert count == len(expected)
    about = run("capinfos", path)
    assert "Name = veth0" in about
    assert "Time precision = nanoseconds (9)" in about
    assert "Filter string = udp port 4791" in about
    keys = tmp_path / "keys"
    keys.write_text(KEY_LOG)
    run("editcap", "--inject-secrets", f"tls,{keys}", SAMPLE, tmp_path / "theirs.pcapng")
    theirs = (tmp_path / "theirs.pcapng").read_bytes()
    start = theirs.index(KEY_LOG.encode()) - 16
    (length,) = struct.unpack_from("<I", theirs, start + 4)
    assert theirs[start : start + length] in path.read_bytes()
    back = captures.open(path)
    assert (back.interfaces[0].received, back.interfaces[0].dropped) == (70, 2)
    assert back.damage == ()
    assert not list(tmp_path.glob("*.part"))


def test_comments_and_flags_reach_tshark(tmp_path: Path) -> None:
    tool("tshark")
    stream = io.BytesIO()
    writer = pcapng.Writer(stream, comment="section remark")
    writer.interface("a")
    writer.interface("b")
    writer.packet(bytes(60), 1_700_000_000_000_000_001, interface=1, comment="look here", flags=2)
    path = tmp_path / "c.pcapng"
    path.write_bytes(stream.getvalue())
    shown = run("tshark", "-r", path, "-T", "fields", "-e", "frame.interface_name", "-e",
                "frame.packet_flags_direction", "-e", "frame.comment")  # fmt: skip
    assert shown == "b\t0x00000002\tlook here\n"


def test_large_key_logs_are_split_and_joined(tmp_path: Path) -> None:
    keys = KEY_LOG * 10_000
    path = tmp_path / "k.pcapng"
    convert.to_pcapng(SAMPLE, path, key_log=keys)
    assert captures.open(path).secrets == keys


def test_the_writer_refuses_secrets_after_packets() -> None:
    writer = pcapng.Writer(io.BytesIO())
    writer.interface()
    writer.packet(b"x", 0)
    with pytest.raises(ValueError, match="before the first packet"):
        writer.secrets(KEY_LOG)
    with pytest.raises(ValueError, match="below 1, found 1"):
        writer.packet(b"x", 0, interface=1)


@pytest.mark.parametrize("length", range(4, 28))
def test_a_file_that_ends_in_its_first_header_is_no_capture(length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pcapng"
    path.write_bytes(section()[:length])
    capture = captures.open(path)
    for read in (lambda: list(capture.frames()), capture.table, lambda: list(capture.tables())):
        with pytest.raises(captures.CaptureError, match="expected a pcapng section header"):
            read()


def test_what_a_file_may_fill_memory_with_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "MAX_INTERFACES", 5)
    monkeypatch.setattr(model, "MAX_DAMAGE", 10)
    monkeypatch.setattr(model, "MAX_SECRETS", 3 * len(KEY_LOG))
    named = interface(options=option(2, b"n" * 5000))
    assert len(KEY_LOG) % 4 == 0
    secrets = block(10, struct.pack("<II", 0x544C534B, len(KEY_LOG)) + KEY_LOG.encode())
    capture = save(
        tmp_path,
        section(),
        *[named] * 8,
        *[secrets] * 5,
        *[block(1, b"")] * 30,
        enhanced(4, 1, b"x"),
    )
    (frame,) = capture.frames()
    assert frame.data == b"x"
    assert len(capture.interfaces) == 5
    assert len(capture.interfaces[0].name) == 1000
    assert capture.secrets == 3 * KEY_LOG
    assert [damage.message for damage in capture.damage] == [
        *["expected at most 5 interfaces, found more"] * 3,
        *[f"expected at most {3 * len(KEY_LOG)} characters of secrets, found more"] * 2,
        *["expected an interface description block, found a body of only 0 bytes"] * 5,
        "more damage, not noted from here on",
    ]
