from __future__ import annotations

import pytest

from tests.lab.flows.conftest import Ends


@pytest.mark.parametrize("path_mtu", [256, 512, 1024, 2048, 4096])
def test_every_request_in_both_directions(ends: Ends, path_mtu: int) -> None:
    outcomes = ends.run("secure-flow", path_mtu=path_mtu)
    mtu = path_mtu
    requests = [
        ("IBV_WR_SEND", 61),
        ("IBV_WR_RDMA_WRITE", mtu),
        ("IBV_WR_RDMA_WRITE", 3 * mtu + 1),
        ("IBV_WR_RDMA_READ", 4 * mtu + 6),
        ("IBV_WR_RDMA_WRITE_WITH_IMM", mtu + 3),
        ("IBV_WR_ATOMIC_FETCH_AND_ADD", 8),
        ("IBV_WR_ATOMIC_CMP_AND_SWP", 8),
        ("IBV_WR_ATOMIC_CMP_AND_SWP", 8),
    ]
    for outcome in outcomes.values():
        assert outcome.failures == []
        work = [
            (keys["opcode"], keys["length"])
            for keys in outcome.named("work")
            if keys["opcode"] != "IBV_WR_RECV"
        ]
        assert work == requests
        assert {keys["status"] for keys in outcome.named("work")} == {"IBV_WC_SUCCESS"}
        assert len(outcome.named("checked")) == 11
        assert all(keys["ok"] for keys in outcome.named("checked"))
        assert outcome.named("closed") == [{"connection": 0, "orderly": True}]


def test_each_end_expects_the_psn_the_other_announced(ends: Ends) -> None:
    outcomes = ends.run("connect-only")
    server, client = (outcomes[role].named("negotiated")[0] for role in ("server", "client"))
    assert server["local"] == client["remote"]
    assert client["local"] == server["remote"]
    for role, told in (("server", server), ("client", client)):
        states = outcomes[role].named("qp_state")
        assert [(keys["from"], keys["to"]) for keys in states] == [
            ("RESET", "INIT"),
            ("INIT", "RTR"),
            ("RTR", "RTS"),
        ]
        assert states[1]["attributes"]["rq_psn"] == told["remote"]["sq_psn"]
        assert states[1]["attributes"]["dest_qp_num"] == told["remote"]["qpn"]
        assert states[2]["attributes"]["sq_psn"] == told["local"]["sq_psn"]
        assert told["sq_psn_source"] == "csprng"
        assert told["peer"] == ("client" if role == "server" else "server")
    assert outcomes["client"].counters["sent_pkts"] == 0


def test_a_seed_gives_the_same_psns_again(ends: Ends) -> None:
    def psns() -> list[int]:
        outcomes = ends.run("connect-only", seed=7, clients=3)
        told = [keys for outcome in outcomes.values() for keys in outcome.named("negotiated")]
        assert {keys["sq_psn_source"] for keys in told} == {"seed"}
        return sorted(keys["local"]["sq_psn"] for keys in told)

    first = psns()
    assert psns() == first
    assert len(set(first)) == 6


def test_many_clients_at_once(ends: Ends) -> None:
    outcomes = ends.run("secure-flow", clients=10)
    assert [outcome.failures for outcome in outcomes.values()] == [[], []]
    locals_ = {
        role: [keys["local"] for keys in outcome.named("negotiated")]
        for role, outcome in outcomes.items()
    }
    for told in locals_.values():
        for key in ("qpn", "sq_psn", "r_key"):
            assert len({keys[key] for keys in told}) == 10
