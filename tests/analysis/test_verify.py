"""A secure flow verified, and the same evidence tampered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.document import Results, document
from analysis.finding import PsnVerdict, Status, Verdict
from analysis.report import write
from analysis.terminal import show
from analysis.verify import Unreadable, verify
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.tcp import TCP
from tests.analysis.scene import A_SQ_PSN, B_SQ_PSN, A, B, Connection, End, Scene, secure_flow
from tests.requires import tool

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"


@pytest.fixture(autouse=True)
def _tshark() -> None:
    tool("tshark")


def codes(results: Results) -> set[str]:
    return {finding.code for finding in results.findings}


def directions(results: Results) -> list[str]:
    return [str(judgement.verdict) for judgement in results.judgements]


def test_secure_flow_passes(tmp_path):
    results = verify(secure_flow().write(tmp_path / "flow.pcapng"))
    assert results.verdict is Verdict.PASS, results.findings
    assert directions(results) == ["match", "match"]
    assert [j.announced for j in results.judgements] == [A_SQ_PSN, B_SQ_PSN]
    for judgement in results.judgements:
        said = {name: (a.status, a.value) for name, a in judgement.witnesses.items()}
        agrees = (Status.AGREES, judgement.announced)
        assert said["tls"] == said["bth"] == said["tshark"] == agrees
        assert said["endpoint_log"] == (Status.MISSING, None)


def test_truth_is_another_witness(tmp_path):
    scene = secure_flow()
    logs = Connection(Scene()).truth(tmp_path)
    results = verify(scene.write(tmp_path / "flow.pcapng"), truth=logs)
    assert results.verdict is Verdict.PASS, results.findings
    assert len(results.context.conversations.connections) == 1
    for judgement in results.judgements:
        assert judgement.witnesses["endpoint_log"].value == judgement.announced


def test_key_log_given_instead_of_secrets_block(tmp_path):
    scene = secure_flow()
    path = scene.write(tmp_path / "bare.pcapng", secrets=False)
    key_log = tmp_path / "keys.txt"
    key_log.write_text(scene.key_log)
    assert verify(path).verdict is Verdict.INCONCLUSIVE
    assert verify(path, keylog=key_log).verdict is Verdict.PASS


def test_key_log_of_another_session(tmp_path):
    scene, other = secure_flow(), secure_flow()
    key_log = tmp_path / "keys.txt"
    key_log.write_text(other.key_log)
    path = scene.write(tmp_path / "flow.pcapng")
    logs = Connection(Scene()).truth(tmp_path)
    results = verify(path, keylog=key_log, truth=logs)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert directions(results) == ["match", "match"]
    assert "tls-not-decrypted" in codes(results)


def test_key_log_missing(tmp_path):
    """Nothing tells what was announced: not a match, and it says what to give."""
    results = verify(secure_flow().write(tmp_path / "bare.pcapng", secrets=False))
    assert results.verdict is Verdict.INCONCLUSIVE
    assert directions(results) == ["not-negotiated", "not-negotiated"]
    (finding,) = (f for f in results.findings if f.code == "psn-not-negotiated")
    assert "--keylog" in finding.message
    for judgement in results.judgements:
        assert "no TLS key log" in judgement.witnesses["tls"].detail


@pytest.mark.parametrize("port", [443, 18515, 4791, 50123])
def test_tls_on_an_odd_port(tmp_path, port):
    """TLS is known by its records: also on perftest's port, and on RoCE's (there over TCP)."""
    scene = Scene()
    connection = Connection(scene, server_port=port)
    connection.negotiate()
    connection.talk()
    results = verify(scene.write(tmp_path / "odd.pcapng"))
    assert results.verdict is Verdict.PASS, results.findings
    assert {j.witnesses["tls"].status for j in results.judgements} == {Status.AGREES}


def test_endpoint_log_that_contradicts(tmp_path):
    logs = Connection(Scene()).truth(tmp_path, sq_psn=A_SQ_PSN + 1)
    results = verify(secure_flow().write(tmp_path / "flow.pcapng"), truth=logs)
    assert results.verdict is Verdict.FAIL
    assert directions(results) == ["copies-disagree", "match"]


def packet_rows(scene: Scene, wanted: Callable[[Packet], bool]) -> list[int]:
    parsed = [Packet.parse(frame) for frame in scene.frames]
    return [number for number, packet in enumerate(parsed) if wanted(packet)]


def is_roce(packet: Packet) -> bool:
    return BTH in packet


def is_tls_data(packet: Packet) -> bool:
    return TCP in packet and len(packet.payload) > 0


@pytest.fixture
def no_tshark(monkeypatch):
    """Without tshark nothing is decrypted, and a verdict takes milliseconds."""
    monkeypatch.setenv("PATH", "/nonexistent")


def test_without_tshark_the_witness_is_missing(tmp_path, no_tshark):
    logs = Connection(Scene()).truth(tmp_path)
    results = verify(secure_flow().write(tmp_path / "flow.pcapng"), truth=logs)
    assert results.verdict is Verdict.PASS
    for judgement in results.judgements:
        assert judgement.witnesses["tshark"].status is Status.MISSING
        assert judgement.witnesses["tls"].detail == "tshark is not installed"


@pytest.mark.parametrize("flip", [1, 0x40, 0x800000])
def test_one_psn_changed_and_icrc_recomputed(tmp_path, no_tshark, flip):
    logs = Connection(Scene()).truth(tmp_path)
    scene = secure_flow()
    for number in packet_rows(scene, is_roce):
        packet = Packet.parse(scene.frames[number])
        changed = packet[BTH].replace(psn=packet[BTH].psn ^ flip)
        headers = tuple(changed if isinstance(h, BTH) else h for h in packet.headers)
        edited = Scene(scene.frames.copy(), scene.key_log)
        edited.frames[number] = Packet(headers, packet.payload, packet.pad).build()
        results = verify(edited.write(tmp_path / "edited.pcapng"), truth=logs)
        assert results.context.table["icrc_status"][number] == 1
        assert results.verdict is not Verdict.PASS, packet


def test_one_psn_changed_and_icrc_left(tmp_path):
    scene = secure_flow()
    number = packet_rows(scene, is_roce)[3]
    frame = bytearray(scene.frames[number])
    frame[14 + 20 + 8 + 11] ^= 1
    scene.frames[number] = bytes(frame)
    results = verify(scene.write(tmp_path / "edited.pcapng"))
    assert results.verdict is Verdict.FAIL
    assert "icrc-wrong" in codes(results)


def test_one_packet_cut_out(tmp_path, no_tshark):
    """Requests, the last ACK, READ responses, TLS bytes: what is missing is missed.

    An ACK in the middle may be cut out unseen: a later one covers it, as if it had been coalesced.
    """
    logs = Connection(Scene()).truth(tmp_path)
    scene = secure_flow()
    covered = packet_rows(scene, lambda p: BTH in p and p[BTH].opcode == Opcode.RC_ACKNOWLEDGE)
    last = {Packet.parse(scene.frames[n]).ends: n for n in covered}
    covered = [n for n in covered if n not in last.values()]
    for number in packet_rows(scene, lambda p: is_roce(p) or is_tls_data(p)):
        if number in covered:
            continue
        cut = Scene(scene.frames[:number] + scene.frames[number + 1 :], scene.key_log)
        results = verify(cut.write(tmp_path / "cut.pcapng"), truth=logs)
        assert results.verdict is not Verdict.PASS, Packet.parse(scene.frames[number])


def test_swapped_ends(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    connection.next = {"a": B_SQ_PSN, "b": A_SQ_PSN}
    connection.talk()
    results = verify(scene.write(tmp_path / "swapped.pcapng"))
    assert results.verdict is Verdict.FAIL
    assert directions(results) == ["swapped", "swapped"]


def test_off_by_one(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    connection.next["a"] += 1
    connection.talk()
    results = verify(scene.write(tmp_path / "off.pcapng"))
    assert directions(results) == ["off-by-n", "match"]


def test_logs_of_two_connections_exchanged(tmp_path):
    scene = Scene()
    one = Connection(scene, port=40000)
    two = Connection(scene, End(A, 0x21, 0x111111), End(B, 0x22, 0x222222), port=40001)
    one.negotiate()
    two.negotiate()
    one.next, two.next = two.next, one.next
    one.talk()
    two.talk()
    results = verify(scene.write(tmp_path / "exchanged.pcapng"))
    assert directions(results) == ["mismatch"] * 4
    assert any("end a of connection 1" in finding.message for finding in results.findings)


def test_queue_pairs_used_again(tmp_path):
    """The same two queue pair numbers, one connection after the other, two TLS exchanges."""
    scene = Scene()
    for port, psns in ((40000, (5, 0xFFFFF0)), (40001, (0x800000, 6))):
        connection = Connection(scene, End(A, 0x11, psns[0]), End(B, 0x12, psns[1]), port)
        connection.negotiate()
        connection.talk()
    results = verify(scene.write(tmp_path / "again.pcapng"))
    assert directions(results) == ["match"] * 4
    assert [j.first for j in results.judgements] == [5, 0xFFFFF0, 0x800000, 6]


def test_announced_but_not_used(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    connection.send("a")
    results = verify(scene.write(tmp_path / "one-way.pcapng"))
    assert results.verdict is Verdict.PASS
    assert directions(results) == ["match", "missing"]
    assert "psn-unused" in codes(results)


def test_nothing_but_tls_is_inconclusive(tmp_path):
    scene = Scene()
    Connection(scene).negotiate()
    results = verify(scene.write(tmp_path / "tls.pcapng"))
    assert results.verdict is Verdict.INCONCLUSIVE
    assert {"no-roce", "psn-missing"} <= codes(results)


def test_psn_shown_in_clear_before_its_use(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.negotiate()
    scene.conversation([("client", f"psn={A_SQ_PSN:06x}".encode())], (A, 40009), (B, 9999))
    connection.talk()
    results = verify(scene.write(tmp_path / "clear.pcapng"))
    assert results.verdict is Verdict.FAIL
    assert "psn-in-clear" in codes(results)


def test_real_capture_with_truth_beside_it(tmp_path):
    """Soft-RoCE: the client's sq_psn was set to 0xC0FFEE, the server's to 0x5EC001 (README)."""
    ends = End("10.77.0.2", 0x11, 0xC0FFEE), End("10.77.0.1", 0x11, 0x5EC001)
    logs = Connection(Scene(), *ends).truth(tmp_path)
    results = verify(SAMPLES / "rxe61_pyverbs_rc.pcap", truth=logs)
    assert results.verdict is Verdict.PASS
    assert [(j.verdict, j.first, j.frame) for j in results.judgements] == [
        (PsnVerdict.MATCH, 0xC0FFEE, 31),
        (PsnVerdict.MISSING, None, None),
    ]


def test_document_has_what_it_promises(tmp_path):
    told = document(verify(secure_flow().write(tmp_path / "flow.pcapng")))
    assert told["schema"] == 1
    assert told["verdict"] == "pass"
    assert told["capture"]["icrc_ok"] == told["capture"]["roce_packets"] > 0
    (connection,) = told["connections"]
    assert connection["transport"] == "RC"
    assert connection["a"] == {"ip": A, "qpn": 0x11}
    assert connection["negotiated_by"] == "rocelab"
    assert connection["tls"]["version"] == "TLSv1.3"
    assert [d["from"] for d in connection["directions"]] == ["a", "b"]
    assert set(connection["directions"][0]["witnesses"]) == {"endpoint_log", "tls", "bth", "tshark"}


def test_unreadable_input_says_so(tmp_path):
    with pytest.raises(Unreadable, match=r"nothing\.pcap"):
        verify(tmp_path / "nothing.pcap")
    path = tmp_path / "text.pcap"
    path.write_text("no capture at all")
    with pytest.raises(Unreadable, match="expected a pcap"):
        verify(path)


def test_endpoint_logs_without_the_keys_pass_on_their_word_and_say_so(tmp_path, capsys):
    """Text, document and report say that TLS itself was not read."""
    logs = Connection(Scene()).truth(tmp_path)
    path = secure_flow().write(tmp_path / "bare.pcapng", secrets=False)
    results = verify(path, truth=logs)
    assert results.verdict is Verdict.PASS
    assert directions(results) == ["match", "match"]
    (finding,) = (f for f in results.findings if f.code == "tls-not-checked")
    assert "no TLS key log" in finding.message
    show(results)
    text = capsys.readouterr().out
    assert text.splitlines()[0].endswith("TLS itself was not checked")
    (told,) = (p for p in document(results)["passes"] if p["id"] == "psn-negotiated")
    assert told["summary"].endswith("TLS was not checked")
    write(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "TLS itself was not checked" in page
    assert "nobody has read that here" in page
    read = verify(secure_flow().write(tmp_path / "flow.pcapng"), truth=logs)
    assert "tls-not-checked" not in codes(read)
