"""`rocelab decode` as a person and as a pipe use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dissectors.samples import FILES, SAMPLES
from tests.requires import tool

RC = SAMPLES / "rxe61_pyverbs_rc.pcap"


def rocelab(*arguments: str, status: int = 0, stdin: bytes | None = None) -> str:
    command = [sys.executable, "-m", "analysis.cli", "decode", *arguments]
    done = subprocess.run(command, capture_output=True, input=stdin, check=False)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return (done.stdout if status == 0 else done.stderr).decode()


def tshark(path: Path, *arguments: str) -> str:
    tool("tshark")
    command = ["tshark", "-n", "-r", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_line_a_packet() -> None:
    lines = rocelab(str(RC)).splitlines()
    assert len(lines) == 63
    write = next(line for line in lines if "WRITE First" in line)
    assert write.split()[0] == "34"
    assert "10.77.0.2 > 10.77.0.1, RC RDMA WRITE First, QP 0x11, PSN 12648431" in write
    assert "DMA length 3000" in write
    # Seconds since the first frame of the file, whichever are shown.
    assert rocelab(str(RC), "--filter", "reth", "-c", "1").strip() == write.strip()


@pytest.mark.parametrize("path", [RC, SAMPLES / "rxe61_cm_rping.pcap"], ids=lambda p: p.stem)
def test_fields_are_tsharks(path: Path) -> None:
    names = ["infiniband.bth.opcode", "infiniband.bth.psn", "infiniband.reth.dmalen",
             "infiniband.deth.srcqp", "infiniband.aeth.msn"]  # fmt: skip
    ours = rocelab(str(path), "--fields", ",".join(names), "--filter", "bth")
    asked = [part for name in names for part in ("-e", name)]
    theirs = tshark(path, "-Y", "infiniband.bth", "-T", "fields", *asked)

    def numbers(text: str) -> list[list[int | None]]:
        rows = (line.split("\t") for line in text.splitlines())
        return [[int(cell, 0) if cell else None for cell in row] for row in rows]

    assert numbers(ours) == numbers(theirs)


def test_a_large_file_is_shown_as_a_small_one(tmp_path: Path) -> None:
    content = RC.read_bytes()
    times = (1 << 20) // len(content) + 2
    large = tmp_path / "large.pcap"
    large.write_bytes(content[:24] + content[24:] * times)
    names = "bth.psn,reth.va,src,aeth.syndrome,infiniband.bth.opcode,ethernet.src,payload_length"
    for asked in (["--fields", names], ["--fields", names, "--filter", "bth"]):
        assert rocelab(str(large), *asked) == rocelab(str(RC), *asked) * times
    some = ["--filter", "reth and frame > 149", "-c", "5", "--json"]
    by_rows = [json.loads(line) for line in rocelab(str(large), *some).splitlines()]
    in_turn = rocelab("-", *some, stdin=large.read_bytes())
    assert by_rows == [json.loads(line) for line in in_turn.splitlines()]
    assert len(by_rows) == 5


def test_addresses_are_shown_as_such() -> None:
    names = ["ip.src", "eth.dst", "infiniband.bth.psn"]
    asked = [part for name in names for part in ("-e", name)]
    theirs = tshark(RC, "-Y", "infiniband.bth", "-T", "fields", *asked)
    assert rocelab(str(RC), "--fields", ",".join(names), "--filter", "bth") == theirs


def test_json_lines() -> None:
    rows = [json.loads(line) for line in rocelab(str(RC), "--json").splitlines()]
    assert [row["frame"] for row in rows] == list(range(1, 64))
    assert sum(row["icrc"] == "ok" for row in rows) == 18
    (read,) = (row for row in rows if "READ Request" in row["summary"])
    bth = next(header for header in read["headers"] if header["header"] == "BTH")
    assert bth["psn"] == 0xC0FFF3


def test_the_tree_names_every_field() -> None:
    text = rocelab(str(RC), "-V", "--filter", "reth", "-c", "1")
    for word in ("BTH: Base Transport Header", "psn = 0xc0ffef", "dma_len = 3000", "ICRC"):
        assert word in text


def test_hex() -> None:
    text = rocelab(str(RC), "--hex", "-c", "1")
    assert "  0000  33 33 00 00 00 16" in text


def test_selected_packets_are_written(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    rocelab(str(RC), "--filter", "bth", "-w", str(out))
    assert tshark(out, "-T", "fields", "-e", "frame.time_epoch", "-e", "ip.id") == tshark(
        RC, "-Y", "infiniband.bth", "-T", "fields", "-e", "frame.time_epoch", "-e", "ip.id"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stats_count_what_tshark_counts(path: Path) -> None:
    document = json.loads(rocelab(str(path), "--stats", "--json"))
    theirs = tshark(path, "-T", "fields", "-e", "infiniband.bth.opcode").splitlines()
    assert document["capture"]["packets"] == len(theirs)
    assert document["capture"]["roce_packets"] == sum(bool(line) for line in theirs)
    assert document["capture"]["icrc_ok"] == document["capture"]["roce_packets"]
    assert sum(document["opcodes"].values()) == document["capture"]["roce_packets"]
    assert sum(row["packets"] for row in document["hierarchy"]) == len(theirs)


def test_stats_of_those_selected() -> None:
    document = json.loads(rocelab(str(RC), "--stats", "--json", "--filter", "reth"))
    assert document["capture"]["packets"] == document["capture"]["roce_packets"] == 4


def test_the_file_that_is_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.pcap"
    path.write_bytes(RC.read_bytes())
    (tmp_path / "link").symlink_to(path)
    for target in (path, tmp_path / "link"):
        assert "another file to write" in rocelab(str(path), "-w", str(target), status=2)
    assert path.read_bytes() == RC.read_bytes()


def test_standard_input_and_an_early_end() -> None:
    whole = rocelab(str(RC))
    assert rocelab("-", stdin=RC.read_bytes()) == whole
    command = f"{sys.executable} -m lab.cli decode {RC} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == whole.splitlines()[:1]
    assert done.stderr == ""


def test_what_cannot_be_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert "found an empty file" in rocelab(str(empty), status=2)
    assert "found a character device" in rocelab("/dev/null", status=2)
    assert "No such file" in rocelab(str(tmp_path / "absent"), status=2)
    assert "did you mean bth.psn" in rocelab(str(RC), "--fields", "psn", status=2)
    assert "expected 0 or more" in rocelab(str(RC), "-c", "-1", status=2)
    assert "expected comparisons" in rocelab(str(RC), "--filter", "===", status=2)


def test_a_torn_file_gives_what_there_is(tmp_path: Path) -> None:
    torn = tmp_path / "torn.pcap"
    torn.write_bytes(RC.read_bytes()[:-3])
    command = [sys.executable, "-m", "analysis.cli", "decode", str(torn)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 62
    assert "at offset" in done.stderr
