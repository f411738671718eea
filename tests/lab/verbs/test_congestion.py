"""Marks and CNPs through real sockets: the ECN field is the kernel's to carry, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from lab.engine.burst import Burst
from lab.engine.dcqcn import Dcqcn
from lab.verbs import libibverbs_enums as e
from lab.wire.faults import Action, Effect, Faults
from tests.lab.verbs.ends import HOSTS, End, attributes, ends

CE = 3
ADDRESSES = [HOSTS, ("::1", "::1")]


def counters(end: End) -> dict[str, int]:
    with end.ctx.adapter.lock:
        return dict(end.ctx.adapter.device.counters)


def connected(own: End, peer: End) -> Any:
    """Attributes of a path whose every packet says that congestion was experienced."""
    attr = attributes(own.verbs, own, peer, 3)
    route = own.verbs.GlobalRoute(
        dgid=peer.ctx.query_gid(1, 0), sgid_index=0, hop_limit=64, traffic_class=CE
    )
    attr.ah_attr = own.verbs.AHAttr(is_global=1, port_num=1, gr=route)
    return attr


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("addresses", ADDRESSES)
def test_a_marked_packet_draws_a_cnp(addresses: tuple[str, str], fast: bool) -> None:
    with ends(addresses, fast=fast, connect=False) as (a, b):
        a.qp.to_rts(connected(a, b))
        b.qp.to_rts(attributes(b.verbs, b, a, 3))
        for _ in range(3):
            a.send(e.IBV_WR_RDMA_WRITE, 4000, to=b)
            assert a.wait()[0].status == 0
        found = counters(b)
        assert found["np_ecn_marked_roce_packets"] == 12
        assert 1 <= found["np_cnp_sent"] <= 12
        # A CNP leaves before the ACK that completed the request.
        assert counters(a)["rp_cnp_ignored"] == found["np_cnp_sent"]


def test_a_cnp_slows_its_sender_down() -> None:
    marks = iter([True])

    def decide(datagram: Burst) -> Effect | None:
        return Effect(Action.CE_MARK) if next(marks, False) else None

    def stack(wire: Any) -> Faults:
        return Faults(wire, decide)

    load = {"dcqcn": Dcqcn(1_000_000_000), "stack": stack}
    with ends(ADDRESSES[0], load=load) as (a, b):
        data = bytes(range(256)) * 400
        a.mr.write(data, len(data))
        a.send(e.IBV_WR_RDMA_WRITE, len(data), to=b)
        assert a.wait()[0].status == 0
        assert b.mr.read(len(data), 0) == data
        assert counters(b)["np_cnp_sent"] == 1
        assert counters(a)["rp_cnp_handled"] == 1
