"""PSNs in clear: a leak told from chance."""

from __future__ import annotations

import random

import pytest

from analysis.finding import Severity, Verdict
from analysis.leaks import Piece, Secret, search
from analysis.passes import psn_secrecy
from analysis.verify import verify
from dissectors.ethernet import Ethernet
from dissectors.packet import Packet
from dissectors.udp import UDP
from tests.analysis.scene import A_SQ_PSN, A, B, Connection, Scene, connect, ip_header

QPN = 0x4321
PSN = A_SQ_PSN.to_bytes(3, "big")
NOISE = random.Random(7).randbytes(4000)


def one_leak(data, qpn=QPN):
    (leak,) = search([Secret(A_SQ_PSN, qpn, 0, "a", used=9)], [Piece(1, data)])
    return leak


def severity(leak):
    return next(weight for limit, _, weight in psn_secrecy.WEIGHTS if leak.chance < limit)


@pytest.mark.parametrize(
    ("data", "weight", "form"),
    [
        (PSN, Severity.ERROR, "bytes"),
        (PSN[::-1], Severity.ERROR, "bytes, last first"),
        (b"psn 6436E9", Severity.ERROR, "hexadecimal"),
        (b"next is 6567657", Severity.ERROR, "decimal"),
        # Three bytes in a lot of noise are nothing; as a number of 32 bits they are doubtful; with
        # the queue pair's number as another they are a leak.
        (NOISE + PSN + NOISE, Severity.INFO, "bytes"),
        (NOISE + b"\0" + PSN + NOISE, Severity.WARNING, "bytes"),
        (NOISE + b"\0\0\x43\x21\0" + PSN + NOISE, Severity.ERROR, "bytes"),
    ],
)
def test_weight(data, weight, form):
    leak = one_leak(data)
    assert (severity(leak), leak.form) == (weight, form)


def test_the_same_in_many_places_is_no_more_evidence():
    """Blank text is full of 0x202020, and full of what stands beside it."""
    blank = Secret(0x202020, 0x20, 0, "a", used=9)
    (leak,) = search([blank], [Piece(1, b" " * 3000)])[:1]
    assert severity(leak) is Severity.INFO


def test_shown_at_its_first_use_or_later_is_no_leak():
    assert not search([Secret(A_SQ_PSN, QPN, 0, "a", used=5)], [Piece(5, PSN), Piece(7, PSN)])


def test_small_psns_are_not_searched_as_bytes():
    assert not search([Secret(0, 0, 0, "a", used=9)], [Piece(1, bytes(100))])
    assert search([Secret(0, 0, 0, "a", used=9)], [Piece(1, b"psn=000000")])


def test_chance_gives_as_many_finds_as_it_is_said_to():
    """Random data, random PSNs: about as many as expected, and none is called a leak."""
    dice = random.Random(20261121)
    finds, expected = [], 0.0
    for _ in range(100):
        secrets = [Secret(dice.randrange(1 << 16, 1 << 24), None, n, "a", 2) for n in range(32)]
        data = dice.randbytes(1 << 15)
        finds += search(secrets, [Piece(1, data)])
        expected += 2 * 32 * (len(data) - 2) / (1 << 24)
    assert expected == pytest.approx(12.5, rel=0.01)
    assert 4 <= len(finds) <= 24  # Poisson: outside in 1 of 100
    assert {severity(leak) for leak in finds} == {Severity.INFO}


def told_in_clear(payload, tmp_path):
    """A says `payload` in a datagram before it sends with its PSN."""
    scene = Scene()
    connection = Connection(scene)
    udp = UDP(src_port=4000, dst_port=7000)
    scene.add(Packet((Ethernet(), ip_header(A, B), udp), payload).build())
    connection.talk()
    logs = connection.truth(tmp_path)
    return verify(scene.write(tmp_path / "clear.pcapng"), truth=logs)


@pytest.fixture
def no_tshark(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.mark.parametrize(
    ("payload", "code", "verdict"),
    [
        (b"\0\0\0\x11\0" + PSN, "psn-in-clear", Verdict.FAIL),
        (bytes(range(1, 97)) + PSN, "psn-perhaps-in-clear", Verdict.INCONCLUSIVE),
        (NOISE[:1200] + PSN, "psn-by-chance", Verdict.PASS),
    ],
)
def test_verdict(tmp_path, no_tshark, payload, code, verdict):
    results = told_in_clear(payload, tmp_path)
    (finding,) = (f for f in results.findings if f.code.startswith("psn-"))
    assert finding.code == code
    assert finding.frames == (1,)
    assert "with probability" in finding.message
    assert results.verdict is verdict


def test_what_tells_its_psns_by_design_is_said_plainly(tmp_path, no_tshark):
    scene = Scene()
    connect(scene, req_psn=0x1B2C3D, rep_psn=A_SQ_PSN)
    Connection(scene).talk()
    results = verify(scene.write(tmp_path / "cm.pcapng"))
    secrecy = results.passes["psn-secrecy"]
    assert secrecy.verdict is Verdict.NOT_APPLICABLE
    assert "rdma-cm exchanged them in clear" in secrecy.summary
    assert [finding.code for finding in secrecy.findings] == ["psn-not-secret"]
