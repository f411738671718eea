"""What has misled tools that follow PSNs: each a capture with the verdict it must get."""

from __future__ import annotations

import json

import pytest

from analysis.finding import Verdict
from analysis.verify import verify
from dissectors.aeth import AETH
from dissectors.ethernet import Ethernet
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.reth import RETH
from dissectors.udp import UDP
from tests.analysis.scene import (
    A_SQ_PSN,
    B_SQ_PSN,
    START,
    A,
    B,
    Connection,
    End,
    Scene,
    connect,
    ip_header,
)


@pytest.fixture(autouse=True)
def _no_tshark(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")


def judged(scene, connection, tmp_path):
    return verify(scene.write(tmp_path / "trap.pcapng"), truth=connection.truth(tmp_path))


def directions(results):
    return [str(judgement.verdict) for judgement in results.judgements]


def codes(results):
    return {finding.code for finding in results.findings}


@pytest.mark.parametrize("start", [0xFFFFFF, 0xFFFFFE, 0xFFFFFD, 0])
def test_wrap_in_the_first_message(tmp_path, start):
    scene = Scene()
    connection = Connection(scene, End(A, 0x11, start), End(B, 0x12, 0xFFFFFF))
    connection.send("a", 3000)
    connection.read("a", 3000)
    connection.send("b", 3000)
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS, results.findings
    assert [j.first for j in results.judgements] == [start, 0xFFFFFF]


def test_psn_0(tmp_path):
    """0 is a PSN like any other, for both ends, and nothing that stands for "none"."""
    scene = Scene()
    connection = Connection(scene, End(A, 0x11, 0), End(B, 0x12, 0))
    connection.send("a")
    connection.send("b")
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS, results.findings
    assert [(j.announced, j.first, str(j.verdict)) for j in results.judgements] == [
        (0, 0, "match"),
        (0, 0, "match"),
    ]


def test_one_direction_holds_only_acks(tmp_path):
    """B sends no request, it only answers: nothing tests its PSN, and that is no fault."""
    scene = Scene()
    connection = Connection(scene)
    connection.send("a", 3000)
    connection.send("a")
    results = judged(scene, connection, tmp_path)
    assert directions(results) == ["match", "missing"]
    assert results.verdict is Verdict.PASS
    assert codes(results) == {"psn-unused"}


def test_first_request_is_a_read(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.read("a", 5000)
    connection.read("b", 100)
    connection.send("a")
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS, results.findings
    assert directions(results) == ["match", "match"]


def test_first_packets_were_lost_before_the_capture_and_sent_again(tmp_path):
    """Captured first: the third packet of a SEND. Then the NAK, and all three."""
    scene = Scene()
    connection = Connection(scene)
    psn = A_SQ_PSN
    connection.packet("a", Opcode.RC_SEND_LAST, psn + 2)
    connection.packet("b", Opcode.RC_ACKNOWLEDGE, psn, AETH(syndrome=0x60, msn=0))
    connection.send("a", 3000)
    results = judged(scene, connection, tmp_path)
    assert directions(results) == ["match", "missing"]
    assert results.judgements[0].first == psn
    assert results.verdict is Verdict.PASS, results.findings


def test_first_request_sent_three_times(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    for _ in range(2):
        connection.packet("a", Opcode.RC_SEND_ONLY, A_SQ_PSN, payload=bytes(64))
    connection.send("a", 64)
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS
    assert "requests-repeated" in codes(results)


def test_capture_began_after_the_first_messages(tmp_path):
    """MSN of the first ACK tells that messages had been completed before."""
    scene = Scene()
    connection = Connection(scene)
    connection.talk()
    scene.frames = scene.frames[8:]
    results = judged(scene, connection, tmp_path)
    assert directions(results) == ["not-captured", "match"]
    assert results.verdict is Verdict.INCONCLUSIVE


def test_capture_began_in_the_middle_of_a_message(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.send("a", 5000)
    scene.frames = scene.frames[2:]
    results = judged(scene, connection, tmp_path)
    assert directions(results)[0] == "not-captured"
    assert results.verdict is Verdict.INCONCLUSIVE


def test_only_one_direction_was_captured(tmp_path):
    """Requests of A without B's answers: its PSN matches, whether it was accepted is unknown."""
    scene = Scene()
    connection = Connection(scene)
    connection.talk()
    scene.frames = [frame for frame in scene.frames if Packet.parse(frame).ends == (A, B)]
    results = judged(scene, connection, tmp_path)
    assert directions(results)[0] == "match"
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "unanswered" in codes(results)


def test_only_answers_were_captured(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.send("a")
    scene.frames = scene.frames[1:]
    results = judged(scene, connection, tmp_path)
    assert directions(results) == ["missing", "missing"]
    assert results.verdict is Verdict.INCONCLUSIVE


def test_same_numbers_between_other_hosts(tmp_path):
    """A third host uses the same queue pair numbers and PSNs: another connection."""
    scene = Scene()
    connection = Connection(scene)
    stranger = Connection(scene, End("10.77.0.3", 0x11, 0x99), End(B, 0x12, 0x98))
    connection.send("a")
    stranger.send("a")
    connection.send("b")
    results = judged(scene, connection, tmp_path)
    assert directions(results)[:2] == ["match", "match"]
    assert directions(results)[2:] == ["not-negotiated", "not-negotiated"]


def test_both_ends_have_the_same_queue_pair_number(tmp_path):
    scene = Scene()
    connection = Connection(scene, End(A, 0x11, 1), End(B, 0x11, 2))
    connection.talk()
    assert directions(judged(scene, connection, tmp_path)) == ["match", "match"]


def test_source_port_means_nothing(tmp_path):
    """A NIC may send RoCE from UDP port 69, which some take for TFTP."""
    scene = Scene()
    connection = Connection(scene)
    connection.talk()
    odd = []
    for frame in scene.frames:
        packet = Packet.parse(frame)
        headers = tuple(
            h.replace(src_port=69, checksum=0) if isinstance(h, UDP) else h for h in packet.headers
        )
        odd.append(Packet(headers, packet.payload, packet.pad).build())
    scene.frames = odd
    assert judged(scene, connection, tmp_path).verdict is Verdict.PASS


def test_read_asked_for_again_from_the_middle(tmp_path):
    """A lost READ response: the requester asks for the rest, its PSN lies within the first span."""
    scene = Scene()
    connection = Connection(scene)
    psn = A_SQ_PSN
    connection.packet("a", Opcode.RC_RDMA_READ_REQUEST, psn, RETH(dma_len=3000))
    first = AETH(syndrome=0x1F, msn=1)
    connection.packet("b", Opcode.RC_RDMA_READ_RESPONSE_FIRST, psn, first, payload=bytes(1024))
    rest = RETH(va=1024, dma_len=1976)
    connection.packet("a", Opcode.RC_RDMA_READ_REQUEST, psn + 1, rest)
    connection.packet("b", Opcode.RC_RDMA_READ_RESPONSE_FIRST, psn + 1, first, payload=bytes(1024))
    connection.packet("b", Opcode.RC_RDMA_READ_RESPONSE_LAST, psn + 2, first, payload=bytes(952))
    connection.next["a"] = psn + 3
    connection.msn["b"] = 1
    connection.send("a")
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS, results.findings


def test_congestion_notification_is_no_request(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.send("a")
    connection.packet("b", Opcode.CNP, 0, payload=bytes(16))
    connection.send("b")
    results = judged(scene, connection, tmp_path)
    assert results.verdict is Verdict.PASS, results.findings


def test_a_capture_of_something_else(tmp_path):
    scene = Scene()
    udp = UDP(src_port=4000, dst_port=53)
    scene.add(Packet((Ethernet(), ip_header(A, B), udp), b"question").build())
    results = verify(scene.write(tmp_path / "dns.pcapng"))
    assert results.verdict is Verdict.INCONCLUSIVE
    (finding,) = (f for f in results.findings if f.code == "no-roce")
    assert "1 DNS" in finding.message


def test_an_empty_capture(tmp_path):
    results = verify(Scene().write(tmp_path / "empty.pcapng"))
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "no-roce" in codes(results)


def test_queue_pair_that_starts_again_with_the_same_psn(tmp_path):
    """The receiver of the second connection takes late packets of the first."""
    scene = Scene()
    for comm_id in (1, 2):
        connect(scene, req_psn=B_SQ_PSN, rep_psn=A_SQ_PSN, comm_id=comm_id)
        Connection(scene).talk()
    results = verify(scene.write(tmp_path / "again.pcapng"))
    assert "psn-pair-reused" in codes(results)


def test_many_connections_with_a_constant_psn(tmp_path):
    scene = Scene()
    for number in range(5):
        connection = Connection(scene, End(A, 17 + number, 3185), End(B, 99 + number, 3185))
        connection.send("a")
        connection.send("b")
    results = verify(scene.write(tmp_path / "constant.pcapng"))
    assert "psn-repeated" in codes(results)
    assert "psn-pair-reused" not in codes(results)


def logged(connection, tmp_path, *statuses):
    """Endpoint logs in which the client's requests completed with `statuses`."""
    logs = connection.truth(tmp_path)
    with logs[0].open("a") as stream:
        for status in statuses:
            event = {"time_ns": START, "event": "work", "connection": 0, "status": status}
            stream.write(json.dumps(event | {"opcode": "IBV_WR_SEND"}) + "\n")
    return logs


def test_requests_that_were_logged_and_not_captured(tmp_path):
    """Every packet of A's requests and their answers cut out: only its log knows of them."""
    scene = Scene()
    connection = Connection(scene)
    connection.send("b")
    logs = logged(connection, tmp_path, "IBV_WC_SUCCESS")
    results = verify(scene.write(tmp_path / "cut.pcapng"), truth=logs)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert {"psn-missing", "work-not-seen"} <= codes(results)


def test_last_message_cut_out_with_its_answer(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.send("a")
    logs = logged(connection, tmp_path, "IBV_WC_SUCCESS", "IBV_WC_SUCCESS")
    results = verify(scene.write(tmp_path / "cut.pcapng"), truth=logs)
    assert results.verdict is Verdict.INCONCLUSIVE
    assert "work-not-seen" in codes(results)


def test_request_that_nobody_answered_and_that_was_given_up(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    for _ in range(3):
        connection.packet("a", Opcode.RC_SEND_ONLY, A_SQ_PSN, payload=bytes(8))
    capture = scene.write(tmp_path / "silent.pcapng")
    assert verify(capture, truth=connection.truth(tmp_path)).verdict is Verdict.INCONCLUSIVE
    logs = logged(connection, tmp_path, "IBV_WC_RETRY_EXC_ERR")
    assert verify(capture, truth=logs).verdict is Verdict.PASS


def test_request_that_never_left_is_not_missed(tmp_path):
    """A flushed request completes in the log without a packet."""
    scene = Scene()
    connection = Connection(scene)
    connection.send("a")
    logs = logged(connection, tmp_path, "IBV_WC_SUCCESS", "IBV_WC_WR_FLUSH_ERR")
    results = verify(scene.write(tmp_path / "flushed.pcapng"), truth=logs)
    assert results.verdict is Verdict.PASS, results.findings
