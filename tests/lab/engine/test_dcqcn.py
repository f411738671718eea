"""Marks answered by CNPs, and the rate they cut: Zhu et al. (SIGCOMM 2015), worked by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.header import Header
from dissectors.icrc import SIZE as ICRC_SIZE
from dissectors.opcode import Opcode
from lab.engine.burst import Burst, Path
from lab.engine.dcqcn import ALPHA_ONE, Dcqcn, Limiter
from lab.engine.encode import encode
from lab.engine.segment import Train
from lab.engine.states import QPType
from lab.engine.work import WCStatus, WROpcode
from lab.wire.faults import Action, Effect, Fault, Faults, Plan
from lab.wire.loopback import Link, joined, loopback
from lab.wire.tap import Tap
from tests.pair import Pair, drop, make_pair, roundtrip_until_done

G = 1_000_000_000
US = 1000
K = T = 55 * US
MTU = 4096
CE, ECT0 = 3, 2


def limiter(**parameters: int) -> Limiter:
    return Limiter(Dcqcn(40 * G, **parameters), lambda *_: None)


def rate_at(limited: Limiter, now: int) -> int:
    limited.allows(now)
    return limited.rate


def test_a_flow_starts_with_the_line_rate() -> None:
    """At 40 Gbit/s 4096 bytes take 819.2 ns."""
    flow = limiter()
    assert flow.allows(0)
    flow.sent(4096, 0)
    assert not flow.allows(818)
    assert flow.allows(819)


def test_fast_recovery() -> None:
    """Alpha is 1 at first: half the rate goes, and comes back by halves in five steps of T."""
    flow = limiter()
    flow.cut(0)
    assert (flow.rate, flow.target) == (20 * G, 40 * G)
    rates = [rate_at(flow, n * T) for n in range(1, 6)]
    assert rates == [30 * G, 35 * G, 37_500_000_000, 38_750_000_000, 39_375_000_000]
    assert flow.target == 40 * G


def test_no_step_comes_early() -> None:
    flow = limiter()
    flow.cut(7)
    assert rate_at(flow, 7 + T - 1) == 20 * G
    assert rate_at(flow, 7 + T) == 30 * G


def test_a_cnp_begins_everything_anew() -> None:
    flow = limiter()
    flow.cut(0)
    flow.cut(T - 1)
    assert (flow.rate, flow.target) == (10 * G, 20 * G)
    assert rate_at(flow, 2 * T - 2) == 10 * G
    assert rate_at(flow, 2 * T - 1) == 15 * G


def test_alpha() -> None:
    """(1 - g) a + g with a CNP, (1 - g) a for each K without one; g = 1/256."""
    flow = limiter()
    flow.cut(0)
    assert flow.alpha == ALPHA_ONE
    flow.allows(K)
    assert flow.alpha == ALPHA_ONE * 255 // 256
    # 30 Gbit/s by then; times 1 - 255/512.
    flow.cut(60 * US)
    assert (flow.rate, flow.target) == (15_058_593_750, 30 * G)
    assert flow.alpha == ALPHA_ONE * 65_281 // 65_536  # (255/256)^2 + 1/256
    # 256 K later: 65281/65536 * (255/256)^256 = 0.36573...
    flow.allows(60 * US + 256 * K)
    assert flow.alpha / ALPHA_ONE == pytest.approx(0.365737, abs=1e-5)


def test_alpha_decays_to_nothing_however_long_that_takes() -> None:
    flow = limiter()
    flow.cut(0)
    flow.cut(10**15)
    assert (flow.rate, flow.alpha) == (40 * G, ALPHA_ONE // 256)


def test_additive_and_hyper_increase() -> None:
    """After five steps of either counter the target rises by R_AI, after five of both by i R_HAI;
    the rate always goes half the way to it.
    """
    flow = limiter()
    flow.cut(0)
    flow.cut(1)
    assert (flow.rate, flow.target) == (10 * G, 20 * G)
    for stage in range(1, 7):
        now = 1 + stage * T
        rate = rate_at(flow, now)
        if stage == 6:
            assert (rate, flow.target) == (20_015_117_187, 20_040_000_000)
        flow.sent(10_000_000, now)
    # Ten halvings: 20 - 10/1024 = 19.990234375; then (that + 20.04) / 2, and with the sixth
    # 10 MB the target is 20.44.
    assert (flow.rate, flow.target) == (20_227_558_593, 20_440_000_000)


def test_bytes_alone_raise_the_rate() -> None:
    flow = limiter()
    flow.cut(0)
    flow.sent(9_999_999, 0)
    assert flow.rate == 20 * G
    flow.sent(1, 0)
    assert flow.rate == 30 * G


def test_lowest_rate() -> None:
    flow = limiter()
    for now in range(30):
        flow.cut(now)
    assert flow.rate == 1_000_000


def test_at_the_line_rate_the_limit_goes() -> None:
    flow = limiter()
    flow.cut(0)
    assert rate_at(flow, 20 * T) == 40 * G
    assert not flow.limiting


def test_scaled_to_another_link() -> None:
    """A tenth of the rate: everything takes ten times as long, steps are a tenth."""
    slower = Dcqcn.scaled(4 * G)
    assert (slower.n_ns, slower.k_ns, slower.t_ns) == (500 * US, 550 * US, 550 * US)
    assert (slower.r_ai, slower.r_hai, slower.b_bytes) == (4_000_000, 40_000_000, 10_000_000)
    assert Dcqcn.scaled(40 * G) == Dcqcn(40 * G)


def test_pace() -> None:
    """At 20 Gbit/s 4096 bytes take 1638.4 ns."""
    flow = limiter()
    flow.cut(0)
    assert flow.allows(0)
    flow.sent(4096, 0)
    assert not flow.allows(1637)
    assert flow.due == 1638
    assert flow.allows(1638)


# -- marks and CNPs ---------------------------------------------------------------------------


def mark(pair: Pair, offset: int, count: int = 1, *, response: bool = False) -> None:
    """Have packets of A (with `response`: of B) marked on their way, from PSN `offset` on."""
    faults = [Fault(Effect(Action.CE_MARK), offset + i, 1, response) for i in range(count)]
    ends = []
    for side, wire in zip((pair.a, pair.b), pair.wires, strict=True):
        peer = pair.peer(side)
        known = {peer.qp.number: (side.sq_psn, peer.sq_psn)}
        own = faults if (side is pair.b) == response else []
        ends.append(Faults(wire, Plan(own, known)))
    pair.wires = (ends[0], ends[1])


def marked_writes(pair: Pair, times: list[int]) -> list[list[Burst]]:
    """Give B one marked WRITE at each time; what it sends after each."""
    sent = []
    for now in times:
        pair.now = now
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4)
        for burst in drop(pair, pair.a):
            path = burst.path._replace(traffic_class=CE)
            pair.b.device.receive(burst._replace(path=path), now)
        answers = drop(pair, pair.b)
        sent.append([b for b in answers if b.data[0] == Opcode.CNP])
        for burst in answers:
            pair.a.device.receive(burst, now)
    return sent


def test_cnp_on_the_wire() -> None:
    """IBTA A17.9.3; bytes as in a vendor's published example of one (there to queue pair 0xd2)."""
    pair = make_pair()
    ((cnp,),) = marked_writes(pair, [0])
    transport = bytes(cnp.data)[:-ICRC_SIZE]
    assert transport.hex() == "8100ffff40" + "000011" + "00000000" + "00" * 16
    assert (cnp.path.source, cnp.path.destination) == (pair.b.address, pair.a.address)
    assert cnp.path.traffic_class & 3 == 0


def test_one_cnp_in_50_microseconds() -> None:
    pair = make_pair()
    sent = marked_writes(pair, [0, 10 * US, 50 * US - 1, 50 * US, 99 * US, 100 * US])
    assert [len(cnps) for cnps in sent] == [1, 0, 0, 1, 0, 1]
    assert pair.b.device.counters["np_ecn_marked_roce_packets"] == 6
    assert pair.b.device.counters["np_cnp_sent"] == 3
    assert len(pair.b.events("cnp_sent")) == 3


def test_without_dcqcn_a_cnp_changes_nothing() -> None:
    pair, plain = make_pair(), make_pair()
    mark(pair, 0)
    for one in (pair, plain):
        one.a.post(WROpcode.RDMA_WRITE, one.b, 100_000)
        roundtrip_until_done(one)
    assert pair.a.device.counters["rp_cnp_ignored"] == 1
    assert pair.now == plain.now


@pytest.mark.parametrize("traffic_class", [0, 1, 2])
def test_unmarked_packets_draw_no_cnp(traffic_class: int) -> None:
    pair = make_pair()
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4)
    for burst in drop(pair, pair.a):
        path = burst.path._replace(traffic_class=traffic_class)
        pair.b.device.receive(burst._replace(path=path), 0)
    assert [b.data[0] for b in drop(pair, pair.b)] == [Opcode.RC_ACKNOWLEDGE]


def slow_pair(line_rate: int = 10 * G, *, fast: bool = False) -> Pair:
    """The engine paces from the start; compiled code leaves a connection to it at the first CNP."""
    pair = make_pair(path_mtu=MTU, dcqcn=Dcqcn(line_rate), fast=fast)
    pair.wires = loopback(5 * US, line_rate)
    return pair


def test_mark_cnp_slower() -> None:
    """One mark: the rate is halved, and packets go out at half the pace."""
    pair = slow_pair()
    times = departures(pair)
    mark(pair, 40)
    pair.a.memory[:] = bytes(range(256)) * 4096
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 1 << 20)
    roundtrip_until_done(pair)
    assert pair.a.device.counters["rp_cnp_handled"] == 1
    assert pair.b.memory == pair.a.memory
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS]
    (cut, *raises) = pair.a.events("rate")
    assert (cut.data["why"], cut.data["from"], cut.data["to"]) == ("CNP", 10 * G, 5 * G)
    assert [d.data["to"] for d in raises[:2]] == [7_500_000_000, 8_750_000_000]
    # Four packets of 16 + 4096 bytes go out together.
    before = gaps(times, 0, cut.time_ns)
    after = gaps(times, cut.time_ns, raises[0].time_ns)
    assert before == {4 * 4112 * 8 * G // (10 * G)}
    assert after == {4 * 4112 * 8 * G // (5 * G)}


def test_compiled_code_leaves_marks_and_cnps_to_the_engine() -> None:
    pair = slow_pair(fast=True)
    mark(pair, 40)
    pair.a.memory[:] = bytes(range(256)) * 4096
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 1 << 20)
    roundtrip_until_done(pair)
    assert pair.b.device.counters["np_cnp_sent"] == 1
    assert pair.a.device.counters["rp_cnp_handled"] == 1
    assert pair.a.events("rate")[0].data["why"] == "CNP"
    assert pair.b.memory == pair.a.memory


def departures(pair: Pair) -> list[int]:
    """When A sends its packets without RETH."""
    times: list[int] = []
    wire = pair.wires[0]

    def note(frame: bytes, time: int) -> None:
        if len(frame) == 42 + 16 + MTU:
            times.append(time)

    pair.wires = (Tap(wire, note, clock=lambda: pair.now), pair.wires[1])
    return times


def gaps(times: list[int], start: int, end: int) -> set[int]:
    """The times between sends in a period."""
    within = sorted({time for time in times if start < time <= end})
    return {later - time for time, later in pairwise(within)}


def test_packets_may_be_marked_only_where_somebody_slows_down() -> None:
    for pair, expected in ((slow_pair(), ECT0), (make_pair(), 0)):
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4)
        (burst,) = drop(pair, pair.a)
        assert burst.path.traffic_class == expected


def test_marked_read_responses_slow_the_responder() -> None:
    pair = slow_pair()
    mark(pair, 0, response=True)
    pair.b.memory[:] = bytes(range(256)) * 4096
    pair.a.post(WROpcode.RDMA_READ, pair.b, 1 << 20)
    roundtrip_until_done(pair)
    assert pair.b.device.counters["rp_cnp_handled"] == 1
    assert pair.b.events("rate")
    assert not pair.a.events("rate")
    assert pair.a.memory == pair.b.memory


def test_a_lost_cnp_is_not_sent_again_nor_missed() -> None:
    """It takes no PSN: what is acknowledged is the same, and nothing is waited for."""
    pair = slow_pair()
    marked_path = None
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4)
    for burst in drop(pair, pair.a):
        marked_path = burst.path._replace(traffic_class=CE)
        pair.b.device.receive(burst._replace(path=marked_path), 0)
    cnp, ack = drop(pair, pair.b)
    assert (cnp.data[0], ack.data[0]) == (Opcode.CNP, Opcode.RC_ACKNOWLEDGE)
    pair.a.device.receive(ack, 0)
    assert len(pair.a.completions()) == 1
    roundtrip_until_done(pair)
    assert pair.b.device.counters["sent_pkts"] == 2


def test_datagrams_are_answered_at_their_source_queue_pair() -> None:
    """A17.9.3: of UD the source queue pair that DETH names."""
    pair = make_pair(kind=QPType.UD, qkey=7)
    headers: list[Header] = [DETH(q_key=7, src_qp=0xABCDEF)]
    path = Path(bytes([10, 77, 0, 9]), pair.b.address)
    train = Train(path, 17, 5, (Opcode.UD_SEND_ONLY,), b"xxxx", MTU, headers[0].pack())
    pair.b.receive(100)
    for burst in encode(train, 4791, 1):
        pair.b.device.receive(burst._replace(path=path._replace(traffic_class=CE)), 0)
    (cnp,) = drop(pair, pair.b)
    assert BTH.parse(cnp.data).dest_qp == 0xABCDEF
    assert cnp.path.destination == path.source


@pytest.mark.parametrize("source", [bytes([10, 77, 0, 9]), None])
def test_cnps_of_strangers_are_counted_and_ignored(source: bytes | None) -> None:
    pair = slow_pair()
    path = Path(source or pair.b.address, pair.a.address)
    train = Train(path, 17, 0, (Opcode.CNP,), bytes(16), MTU, p_key=0xFFFF if source else 0x1234)
    for burst in encode(train, 4791, 1):
        pair.a.device.receive(burst, 0)
    counter = "rcvd_not_for_qp" if source else "bad_pkey_cntr"
    assert pair.a.device.counters[counter] == 1
    assert pair.a.qp.limiter is not None
    assert pair.a.qp.limiter.rate == 10 * G


def through_a_bottleneck(*, heard: bool) -> tuple[Pair, int, int]:
    """16 MiB from a sender of 10 Gbit/s through a switch with a link of 2.5: (pair, packets lost,
    longest wait). The CNPs are lost unless they are `heard`.
    """
    size = 1 << 20
    pair = make_pair(path_mtu=MTU, size=size, dcqcn=Dcqcn(10 * G), fast=False)
    pair.a.memory[:] = bytes(range(256)) * (size // 256)
    wires = joined(Link(5 * US, 2_500_000_000, mark_ns=65 * US, drop_ns=650 * US))

    def deaf(burst: Burst) -> Effect | None:
        return Effect(Action.DROP) if burst.data[0] == Opcode.CNP and not heard else None

    pair.wires = (wires[0], Faults(wires[1], deaf))
    for _ in range(16):
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, size)
    roundtrip_until_done(pair)
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS] * 16
    assert pair.b.memory == pair.a.memory
    return pair, wires[0].lost, wires[0].waited_ns


def test_a_bottleneck_loses_nothing_of_a_sender_that_slows_down() -> None:
    """A switch that marks above 20 KB of queue and drops above 200 KB (a window is 512 KB)."""
    deaf, lost, _ = through_a_bottleneck(heard=False)
    assert lost > 1000
    heard, lost, waited = through_a_bottleneck(heard=True)
    assert lost == 0
    assert waited < 650 * US
    assert heard.now < deaf.now
    assert not heard.a.events("go_back")
