"""Queue pairs paired, in real captures and made-up ones, without being told."""

from __future__ import annotations

from pathlib import Path

import pytest

import captures
from analysis import conversations, sequences
from dissectors.opcode import Opcode
from tests.analysis.scene import A_SQ_PSN, A, B, Connection, End, Scene

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"

# file -> (ip, qpn) of both ends, transport, how paired, first request PSN of either end. From the
# samples' README, the tools' clear-text exchange (pingpong: LID:QPN:PSN:GID), and CM REQ/REP.
EXPECTED = {
    "rxe61_pyverbs_rc": [("10.77.0.2", "10.77.0.1", "RC", "responses", 0xC0FFEE, None)],
    "rxe61_pyverbs_wrap": [("10.77.0.2", "10.77.0.1", "RC", "responses", 0xFFFFFE, None)],
    "rxe61_pyverbs_uc": [("10.77.0.2", "10.77.0.1", "UC", "none", 0xC0FFEE, None)],
    "rxe61_pyverbs_ud": [("10.77.0.2", "10.77.0.1", "UD", "deth", 0xC0FFEE, None)],
    "rxe61_ibv_rc_pingpong": [("10.77.0.2", "10.77.0.1", "RC", "responses", 0x2B3E1A, 0xB918E6)],
    "rxe61_ibv_uc_pingpong": [("10.77.0.2", "10.77.0.1", "UC", "addresses", 0xCA12FA, 0x90F112)],
    "rxe61_err_psnskew": [("10.77.0.2", "10.77.0.1", "RC", "addresses", 0x222000, None)],
    "rxe61_interop_host_tap": [("10.77.0.254", "10.77.0.1", "RC", "responses", 0x333333, 0xAAA000)],
}


def paired(path):
    table = captures.open(path).table()
    found = conversations.build(table)
    return table, found, sequences.lay_out(table, found)


def firsts(table, laid_out):
    return [int(table["bth_psn"][laid_out.rows[at]]) if at >= 0 else None for at in laid_out.first]


@pytest.mark.parametrize("name", EXPECTED)
def test_real_captures(name):
    table, found, laid_out = paired(SAMPLES / f"{name}.pcap")
    starts = firsts(table, laid_out)
    seen = [
        (c.a.ip, c.b.ip, c.transport, c.paired_by, *starts[2 * c.number : 2 * c.number + 2])
        for c in found.connections
    ]
    assert seen == EXPECTED[name]


def test_every_queue_pair_of_a_shared_receive_queue():
    """ibv_srq_pingpong -q 4: four connections (README), PSNs as its clear-text exchange tells."""
    table, found, laid_out = paired(SAMPLES / "rxe61_ibv_srq_pingpong.pcap")
    assert [c.a.qpn for c in found.connections] == [0x14, 0x15, 0x16, 0x17]
    assert [c.b.qpn for c in found.connections] == [0x14, 0x15, 0x16, 0x17]
    text = (SAMPLES / "rxe61_ibv_srq_pingpong.pcap").read_bytes()
    for psn in firsts(table, laid_out):
        assert f":{psn:06x}:".encode() in text


def test_wrap_in_the_first_message_is_one_line():
    _, found, laid_out = paired(SAMPLES / "rxe61_pyverbs_wrap.pcap")
    place = laid_out.place[laid_out.requests(0)]
    assert list(place) == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert not laid_out.repeat.any()
    assert found.connections[0].number == 0


def table_of(scene, tmp_path):
    return captures.open(scene.write(tmp_path / "scene.pcapng")).table()


def test_queue_pair_used_again_without_any_exchange(tmp_path):
    """A jump of the PSN that goes on from there is the next life of the queue pair."""
    scene = Scene()
    for start in (100, 0x700000):
        Connection(scene, End(A, 0x11, start), End(B, 0x12, start + 5000)).talk()
    table = table_of(scene, tmp_path)
    found = conversations.build(table)
    assert len(found.connections) == 2
    laid_out = sequences.lay_out(table, found)
    assert firsts(table, laid_out) == [100, 5100, 0x700000, 0x700000 + 5000]


def test_one_stray_packet_is_no_connection(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    connection.send("a")
    connection.packet("a", Opcode.RC_SEND_ONLY, 0x123456)
    connection.send("a")
    table = table_of(scene, tmp_path)
    found = conversations.build(table)
    assert len(found.connections) == 1
    assert list(sequences.lay_out(table, found).stray) == [False, True, False]


def test_same_psns_on_two_queue_pairs_between_two_hosts(tmp_path):
    """A constant starting PSN: what answers what is still told by when it comes."""
    scene = Scene()
    one = Connection(scene, End(A, 0x11, 3185), End(B, 0x12, 3185))
    two = Connection(scene, End(A, 0x21, 3185), End(B, 0x22, 3185))
    for connection in (one, two, one, one, two):
        connection.send("a")
        connection.send("b")
    found = conversations.build(table_of(scene, tmp_path))
    assert [(c.a.qpn, c.b.qpn) for c in found.connections] == [(0x11, 0x12), (0x21, 0x22)]


def test_only_acknowledgements_captured(tmp_path):
    scene = Scene()
    connection = Connection(scene)
    for number in range(3):
        connection.acknowledge("b", A_SQ_PSN + number)
    found = conversations.build(table_of(scene, tmp_path))
    (only,) = found.connections
    assert (only.a, only.b) == (End_(A, 0x11), End_(B, None))
    assert only.paired_by == "none"
    assert len(found.rows(0, "b")) == 3


def End_(ip, qpn):
    from analysis.negotiated import End as Known

    return Known(ip, qpn)


def test_many_connections_cost_no_more_than_their_packets(tmp_path):
    scene = Scene()
    for number in range(300):
        connection = Connection(
            scene, End(A, 17 + number, number * 7919 & 0xFFFFFF), End(B, 1000 + number, number)
        )
        connection.send("a")
        connection.send("b")
    found = conversations.build(table_of(scene, tmp_path))
    assert [(c.a.qpn, c.b.qpn) for c in found.connections] == [
        (17 + number, 1000 + number) for number in range(300)
    ]
