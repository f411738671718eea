"""A real run, and the same run edited afterwards: none of the edited ones passes.

Two kinds of editor: one changes a file, the other also writes new SHA-256 sums (and packet count)
into run.json, so that only what the evidence says about itself can betray the edit.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import captures
from analysis.document import Results
from analysis.finding import PsnVerdict, Status, Verdict
from analysis.verify import verify
from captures.pcapng_writer import Writer
from captures.run import evidence
from dissectors.bth import BTH
from dissectors.opcode import BY_VALUE
from dissectors.packet import Packet
from dissectors.psn import add
from dissectors.tcp import TCP
from tests.analysis.scene import secure_flow
from tests.requires import tool

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The directory of a secure-flow run, made by the command a user gives."""
    tool("tshark")
    folder = tmp_path_factory.mktemp("runs") / "run"
    command = [sys.executable, "-m", "lab.cli", "run", "--out", str(folder), "--json"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """A copy of the run to edit."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def no_tshark(monkeypatch) -> None:
    """A verdict in milliseconds; the endpoint logs are witness enough for what is edited here."""
    monkeypatch.setenv("PATH", "/nonexistent")


def frames_of(folder: Path) -> list[captures.Frame]:
    return list(captures.open(folder / "capture.pcapng").frames())


def rewrite(folder: Path, frames: list[captures.Frame], secrets: str | None = None) -> None:
    """Write the run's capture again with other frames."""
    path = folder / "capture.pcapng"
    known = captures.open(path)
    interfaces = known.interfaces
    key_log = known.secrets if secrets is None else secrets
    with path.open("wb") as stream:
        writer = Writer(stream)
        for interface in interfaces:
            writer.interface(interface.name, link_type=interface.link_type)
        writer.secrets(key_log)
        for frame in frames:
            writer.packet(frame.data, frame.time_ns, interface=frame.interface)


def forge(folder: Path, *, received: int | None = None) -> None:
    """Make run.json agree with the files as they are now."""
    path = folder / "run.json"
    document = json.loads(path.read_text())
    document["sha256"] = evidence(folder)
    if received is not None:
        document["capture"]["received"] = received
    path.write_text(json.dumps(document))


def codes(results: Results) -> set[str]:
    return {finding.code for finding in results.findings}


def rows(frames: list[captures.Frame], kind: type) -> Iterator[tuple[int, Packet]]:
    for number, frame in enumerate(frames):
        packet = Packet.parse(frame.data)
        if kind in packet and (kind is BTH or packet.payload):
            yield number, packet


def replaced(frame: captures.Frame, data: bytes) -> captures.Frame:
    return captures.Frame(
        frame.number, frame.time_ns, data, len(data), frame.interface, frame.link_type, 0
    )


def test_the_run_itself_passes(run):
    results = verify(run)
    assert results.verdict is Verdict.PASS, results.findings
    for judgement in results.judgements:
        assert {a.status for a in judgement.witnesses.values()} == {Status.AGREES}


def test_the_run_passes_without_its_directory(run, tmp_path):
    """The capture alone, moved elsewhere: its secrets block is all that is needed."""
    moved = shutil.copy(run / "capture.pcapng", tmp_path / "moved.pcapng")
    assert verify(moved).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "name", ["capture.pcapng", "truth-client.jsonl", "truth-server.jsonl", "keylog.txt"]
)
def test_any_file_changed_by_one_byte(copy, no_tshark, name):
    path = copy / name
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1", b"2", 1) if name != "capture.pcapng" else data + b"\n")
    results = verify(copy)
    assert results.verdict is Verdict.FAIL
    assert "evidence-changed" in codes(results)


def test_any_file_taken_away(copy, no_tshark):
    (copy / "keylog.txt").unlink()
    results = verify(copy)
    assert results.verdict is Verdict.FAIL
    assert "evidence-changed" in codes(results)


def test_forged_psn_with_new_icrc_in_any_packet(copy, no_tshark):
    frames = frames_of(copy)
    for number, packet in rows(frames, BTH):
        bth = packet[BTH].replace(psn=packet[BTH].psn ^ 0x10)
        headers = tuple(bth if isinstance(h, BTH) else h for h in packet.headers)
        edited = frames.copy()
        edited[number] = replaced(
            frames[number], Packet(headers, packet.payload, packet.pad).build()
        )
        rewrite(copy, edited)
        forge(copy)
        results = verify(copy)
        assert int((results.context.table["icrc_status"] == 2).sum()) == 0
        assert results.verdict is not Verdict.PASS, str(packet)


def test_forged_psn_with_the_old_icrc(copy, no_tshark):
    frames = frames_of(copy)
    number, packet = next(rows(frames, BTH))
    at = len(frames[number].data) - len(packet.payload) - len(packet.pad or b"") - 4
    bth = sum(len(h.pack()) for h in packet.headers[:3])
    assert bth < at
    data = bytearray(frames[number].data)
    data[bth + 11] ^= 0x10
    frames[number] = replaced(frames[number], bytes(data))
    rewrite(copy, frames)
    forge(copy)
    results = verify(copy)
    assert results.verdict is Verdict.FAIL
    assert "icrc-wrong" in codes(results)


def test_forged_cut_of_any_packet_that_carries_something(copy, no_tshark):
    """Requests, responses, ACKs in the middle too (counters), and TCP segments with TLS in them."""
    frames = frames_of(copy)
    carrying = [number for kind in (BTH, TCP) for number, _ in rows(frames, kind)]
    assert len(carrying) > 60
    for number in carrying:
        rewrite(copy, frames[:number] + frames[number + 1 :])
        forge(copy, received=len(frames) - 1)
        assert verify(copy).verdict is not Verdict.PASS, str(Packet.parse(frames[number].data))


def test_forged_duplicate_of_any_rdma_packet(copy, no_tshark):
    frames = frames_of(copy)
    for number, packet in rows(frames, BTH):
        rewrite(copy, frames[: number + 1] + frames[number:])
        forge(copy, received=len(frames) + 1)
        assert verify(copy).verdict is not Verdict.PASS, str(packet)


def test_duplicate_of_any_packet_is_counted(copy, no_tshark):
    frames = frames_of(copy)
    rewrite(copy, [frames[0], *frames])
    forge(copy)
    assert "count-disagrees" in codes(verify(copy))


def test_forged_key_log_of_another_session(copy):
    key_log = secure_flow().key_log
    (copy / "keylog.txt").write_text(key_log)
    rewrite(copy, frames_of(copy), secrets=key_log)
    forge(copy)
    results = verify(copy)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "tls-not-decrypted" in codes(results)
    assert {j.witnesses["tls"].status for j in results.judgements} == {Status.FAILED}


def test_forged_key_log_with_the_right_session_and_wrong_secrets(copy):
    """The client random is right, so only the decryption can fail."""
    key_log = (copy / "keylog.txt").read_text()
    lines = [line.rsplit(" ", 1) for line in key_log.splitlines()]
    wrong = "".join(f"{head} {secret[::-1]}\n" for head, secret in lines)
    (copy / "keylog.txt").write_text(wrong)
    rewrite(copy, frames_of(copy), secrets=wrong)
    forge(copy)
    results = verify(copy)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "tls-not-decrypted" in codes(results)


EDITS = {
    "own sq_psn": ("negotiated", ("local", "sq_psn")),
    "peer's sq_psn": ("negotiated", ("remote", "sq_psn")),
    "own qpn": ("negotiated", ("local", "qpn")),
    "sq_psn given to RTS": ("qp_state", ("attributes", "sq_psn")),
    "rq_psn given to RTR": ("qp_state", ("attributes", "rq_psn")),
    "packets sent": ("counters", ("counters", "sent_pkts")),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("host", ["client", "server"])
def test_forged_endpoint_log(copy, no_tshark, host, edit):
    event, (outer, inner) = EDITS[edit]
    path = copy / f"truth-{host}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edited = [line for line in lines if line["event"] == event and inner in (line.get(outer) or {})]
    edited[0][outer][inner] ^= 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    forge(copy)
    assert verify(copy).verdict is not Verdict.PASS


def test_forged_run_whose_keys_were_taken_away(copy, no_tshark):
    """All else could have been edited to agree: only TLS bytes resist that."""
    (copy / "keylog.txt").unlink()
    rewrite(copy, frames_of(copy), secrets="")
    forge(copy)
    results = verify(copy)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "keys-missing" in codes(results)


MOVED = 0x10


def test_forged_everywhere_but_in_tls(copy):
    """The client's PSNs moved in every packet (ICRC anew), every log and the sums: TLS betrays it.

    This is what the exchange inside TLS is for. Without tshark, who reads it, the verdict says that
    TLS itself was not checked.
    """
    results = verify(copy)
    direction = results.judgements[0]
    connection = results.context.conversations.connections[0]
    assert direction.announced is not None
    frames = frames_of(copy)
    for number, packet in rows(frames, BTH):
        opcode = BY_VALUE[packet[BTH].opcode]
        assert opcode is not None
        if (packet.ends[0] == connection.a.ip) == opcode.is_request:
            bth = packet[BTH].replace(psn=add(packet[BTH].psn, MOVED))
            headers = tuple(bth if isinstance(h, BTH) else h for h in packet.headers)
            built = Packet(headers, packet.payload, packet.pad).build()
            frames[number] = replaced(frames[number], built)
    rewrite(copy, frames)
    old, new = direction.announced, add(direction.announced, MOVED)
    for host in ("client", "server"):
        path = copy / f"truth-{host}.jsonl"
        text = re.sub(rf'(_psn":\s*){old}\b', rf"\g<1>{new}", path.read_text())
        assert text != path.read_text()
        path.write_text(text)
    forge(copy)
    results = verify(copy)
    assert results.verdict is Verdict.FAIL
    assert results.judgements[0].verdict is PsnVerdict.COPIES_DISAGREE
    assert results.judgements[0].witnesses["tls"].value == old
    assert results.judgements[0].witnesses["bth"].value == new


def test_without_tshark_the_run_says_that_tls_was_not_checked(copy, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    results = verify(copy)
    assert results.verdict is Verdict.PASS
    assert results.tls_unchecked
