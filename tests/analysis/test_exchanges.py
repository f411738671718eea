"""Sources of negotiated values, each in a capture or log as its program makes it."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest

from analysis import exchanges
from analysis.exchanges import expect
from analysis.finding import Verdict
from analysis.negotiated import Announced, End
from analysis.verify import Unreadable, verify
from tests.analysis import scene as scenes
from tests.analysis.scene import A, B, Connection, Scene, connect
from tests.requires import tool

LINK_LOCAL = "fe80::5054:ff:fe00:2", "fe80::5054:ff:fe00:1"


def parameters(qpn: int, gid: str, psn: int) -> bytes:
    """The 40-byte struct of rdma-multi-client, its padding leaking what was there before."""
    gid_bytes = IPv6Address(gid).packed
    return struct.pack("!IH16s2sIIQ", qpn, 0, gid_bytes, b"\xde\xad", psn, 0x1234, 0x7F0000000000)


def multi_client(psns=(0x6436E9, 0x1B2C3D), copies=None):
    """rdma-multi-client: TLS over IPv4, RoCE over IPv6 link-local, both ends with QP 0x11."""
    scene = Scene()
    first = copies or psns
    said = [
        ("client", first[0].to_bytes(4, "big")),
        ("server", first[1].to_bytes(4, "big")),
        ("client", parameters(0x11, LINK_LOCAL[0], psns[0])),
        ("server", parameters(0x11, LINK_LOCAL[1], psns[1])),
    ]
    scene.tls(said)
    ends = (scenes.End(ip, 0x11, psn) for ip, psn in zip(LINK_LOCAL, psns, strict=True))
    Connection(scene, *ends).talk()
    return scene


def directions(results):
    return [str(judgement.verdict) for judgement in results.judgements]


def test_rdma_multi_client(tmp_path):
    tool("tshark")
    results = verify(multi_client().write(tmp_path / "multi.pcapng"))
    assert results.verdict is Verdict.PASS, results.findings
    (connection,) = results.context.conversations.connections
    assert connection.negotiated[0].source == "rdma-multi-client"
    assert (connection.a.ip, connection.b.ip) == LINK_LOCAL
    assert [j.announced for j in results.judgements] == [0x6436E9, 0x1B2C3D]


def test_rdma_multi_client_whose_two_copies_differ(tmp_path):
    tool("tshark")
    scene = multi_client(copies=(0x6436E9, 0x1B2C3F))
    results = verify(scene.write(tmp_path / "multi.pcapng"))
    assert results.verdict is Verdict.FAIL
    assert directions(results) == ["match", "copies-disagree"]


def test_rdma_multi_client_turned_away_is_no_mismatch(tmp_path):
    """Over its limit the server closes after TLS; the client has sent its PSN."""
    tool("tshark")
    scene = multi_client()
    scene.tls([("client", (0x123457).to_bytes(4, "big"))], client=(A, 40001))
    results = verify(scene.write(tmp_path / "multi.pcapng"))
    assert results.verdict is Verdict.PASS
    assert directions(results) == ["match", "match"]


@pytest.fixture
def no_tshark(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")


def test_rdma_cm_receiver_chooses(tmp_path, no_tshark):
    scene = Scene()
    connect(scene, req_psn=0x0B0000, rep_psn=0x0A0000, again=True)
    Connection(scene, scenes.End(A, 0x11, 0x0A0000), scenes.End(B, 0x12, 0x0B0000)).talk()
    results = verify(scene.write(tmp_path / "cm.pcapng"))
    assert results.verdict is Verdict.PASS
    assert directions(results) == ["match", "match"]
    assert results.context.conversations.connections[0].paired_by == "cm"


def test_rdma_cm_taken_the_other_way_round_is_swapped(tmp_path, no_tshark):
    scene = Scene()
    connect(scene, req_psn=0x0A0000, rep_psn=0x0B0000)
    Connection(scene, scenes.End(A, 0x11, 0x0A0000), scenes.End(B, 0x12, 0x0B0000)).talk()
    results = verify(scene.write(tmp_path / "cm.pcapng"))
    assert directions(results) == ["swapped", "swapped"]


def test_two_cm_sessions_with_the_same_queue_pairs(tmp_path, no_tshark):
    scene = Scene()
    for comm_id, psns in ((1, (100, 200)), (2, (110, 0xFFFFFF))):
        connect(scene, req_psn=psns[1], rep_psn=psns[0], comm_id=comm_id)
        Connection(scene, scenes.End(A, 0x11, psns[0]), scenes.End(B, 0x12, psns[1])).talk()
    results = verify(scene.write(tmp_path / "cm.pcapng"))
    assert directions(results) == ["match"] * 4
    assert [j.first for j in results.judgements] == [100, 200, 110, 0xFFFFFF]


PINGPONG = """\
  local address:  LID 0x0000, QPN 0x000011, PSN 0x2b3e1a, GID ::ffff:10.77.0.2
  remote address: LID 0x0000, QPN 0x000011, PSN 0xb918e6, GID ::ffff:10.77.0.1
41984 bytes in 0.05 seconds = 6.29 Mbit/sec
"""
PERFTEST = """\
---------------------------------------------------------------------------------------
                    RDMA_Write BW Test
 Number of qps   : 2            Transport type : IB
 rdma_cm QPs     : {cm}
---------------------------------------------------------------------------------------
 local address: LID 0000 QPN 0x0011 PSN 0x817c7e RKey 0x000f36 VAddr 0x0055c54e883000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:02
 local address: LID 0000 QPN 0x0012 PSN 0x5d3c01 RKey 0x000f36 VAddr 0x0055c54e893000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:02
 remote address: LID 0000 QPN 0x0021 PSN 0xe6943e RKey 0x000ece VAddr 0x005606bb50d000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:01
 remote address: LID 0000 QPN 0x0022 PSN 0x000001 RKey 0x000ece VAddr 0x005606bb51d000
 GID: 00:00:00:00:00:00:00:00:00:00:255:255:10:77:00:01
"""


def test_pingpong_output():
    (said,) = exchanges.from_log(PINGPONG, "server.txt")
    assert said.source == "pingpong"
    assert said.a == Announced(End("10.77.0.2", 0x11), 0x2B3E1A, None, (0x2B3E1A,))
    assert said.b == Announced(End("10.77.0.1", 0x11), 0xB918E6, None, (0xB918E6,))


def test_pingpong_output_verifies_its_capture(tmp_path, no_tshark):
    path = tmp_path / "client.txt"
    path.write_text(PINGPONG)
    from tests.analysis.test_samples import SAMPLES

    results = verify(SAMPLES / "rxe61_ibv_rc_pingpong.pcap", log=[path])
    assert results.verdict is Verdict.PASS
    assert all(j.witnesses["endpoint_log"].value == j.announced for j in results.judgements)


def test_perftest_output_of_several_queue_pairs():
    one, two = exchanges.from_log(PERFTEST.format(cm="OFF"), "bw.txt")
    assert (one.a.end, one.a.sq_psn) == (End("10.77.0.2", 0x11), 0x817C7E)
    assert (two.b.end, two.b.sq_psn) == (End("10.77.0.1", 0x22), 1)


def test_perftest_over_rdma_cm_prints_psns_that_never_reach_the_wire():
    statements = exchanges.from_log(PERFTEST.format(cm="ON"), "bw.txt")
    assert [said.a.sq_psn for said in statements] == [None, None]
    assert [said.a.end.qpn for said in statements] == [0x11, 0x12]


def test_log_of_nobody_we_know(tmp_path, no_tshark):
    path = tmp_path / "log.txt"
    path.write_text("hello")
    with pytest.raises(Unreadable, match="found neither"):
        verify(Scene().write(tmp_path / "empty.pcapng"), log=[path])


@pytest.mark.parametrize(
    ("text", "end", "psn"),
    [
        ("10.0.0.1:17=0", End("10.0.0.1", 17), 0),
        ("10.0.0.1:0x11=0x6436e9", End("10.0.0.1", 17), 0x6436E9),
        ("fe80::1:0x11=5", End("fe80::1", 17), 5),
        ("[::ffff:10.0.0.1]:17=5", End("10.0.0.1", 17), 5),
    ],
)
def test_expect(text, end, psn):
    said = expect.read(text)
    assert (said.a.end, said.a.sq_psn) == (end, psn)


@pytest.mark.parametrize("text", ["", "10.0.0.1=5", "10.0.0.1:17=0x1000000", "x:1=2", "1:2:3=x"])
def test_expect_that_is_none(text):
    with pytest.raises(ValueError, match="IP:QPN=PSN"):
        expect.read(text)
