"""What the verbs refuse, with which errno, and that the reason is in the message."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from lab import providers
from lab.verbs import libibverbs_enums as e
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError
from tests.lab.verbs.ends import HOSTS, attributes, ends


def code(action: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(PyverbsRDMAError) as caught:
        action(*arguments)
    return caught.value.error_code, str(caught.value)


def test_post_before_rts() -> None:
    with ends(connect=False) as (a, b):
        number, text = code(lambda: a.send(e.IBV_WR_RDMA_WRITE, 4, to=b))
        assert number == errno.EINVAL
        assert "state RESET, not RTS" in text
        assert "Errno: 22, Invalid argument" in text
        number, _ = code(lambda: a.recv(4))
        assert number == errno.EINVAL


def test_transitions() -> None:
    with ends(connect=False) as (a, b):
        attr = attributes(a.verbs, a, b, 3)
        attr.qp_state = e.IBV_QPS_RTS
        number, text = code(a.qp.modify, attr, e.IBV_QP_STATE)
        assert number == errno.EINVAL
        assert "RC queue pair does not go from RESET to RTS" in text
        a.qp.to_init(attr)
        attr.qp_state = e.IBV_QPS_RTR
        _, text = code(a.qp.modify, attr, e.IBV_QP_STATE | e.IBV_QP_AV)
        assert "IBV_QP_DEST_QPN" in text
        assert a.qp.qp_state == e.IBV_QPS_INIT


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("timeout", 32, "timeout 32"),
        ("retry_cnt", 8, "retry_cnt 8"),
        ("min_rnr_timer", 32, "min_rnr_timer 32"),
        ("path_mtu", 6, "path MTU 6"),
    ],
)
def test_values_out_of_range(name: str, value: int, part: str) -> None:
    with ends(connect=False) as (a, b):
        attr = attributes(a.verbs, a, b, 3)
        setattr(attr, name, value)
        number, text = code(a.qp.to_rts, attr)
        assert number == errno.EINVAL
        assert part in text


def test_address_without_a_route() -> None:
    with ends(connect=False) as (a, b):
        attr = attributes(a.verbs, a, b, 3)
        attr.ah_attr = a.verbs.AHAttr(dlid=5)
        assert "needs is_global" in code(a.qp.to_rtr, attr)[1]
        with pytest.raises(PyverbsUserError, match="gr parameter is None"):
            a.verbs.AHAttr(is_global=1)


def test_devices() -> None:
    verbs = providers.load("userspace", addresses=[HOSTS[0]], names=["lab0"])
    assert [device.name for device in verbs.get_device_list()] == [b"lab0"]
    assert (
        "Failed to find device mlx5_0 (devices: lab0)"
        in code(lambda: verbs.Context(name="mlx5_0"))[1]
    )
    with pytest.raises(PyverbsUserError, match="name must be provided"):
        verbs.Context()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOSTS[0], 4791))
        assert code(lambda: verbs.Context(name="lab0"))[0] == errno.EADDRINUSE
    elsewhere = providers.load("userspace", addresses=["192.0.2.1"])
    assert code(lambda: elsewhere.Context(name="roce_0"))[0] == errno.EADDRNOTAVAIL


def test_closed_objects() -> None:
    with ends() as (a, _):
        a.mr.close()
        with pytest.raises(PyverbsUserError, match="closed"):
            a.mr.read(1, 0)
        a.qp.close()
        a.qp.close()
        assert code(lambda: a.qp.qp_num)[0] == errno.EBADF
        a.pd.close()
        a.ctx.close()
        assert code(lambda: a.ctx.query_gid(1, 0))[0] == errno.EBADF


def test_freed_memory_fails_the_request_that_names_it() -> None:
    with ends() as (a, b):
        sge = a.sge(4)
        a.mr.close()
        wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
        wr.set_wr_rdma(b.mr.rkey, b.mr.buf)
        a.qp.post_send(wr)
        assert a.wait()[0].status == e.IBV_WC_LOC_PROT_ERR
        assert a.qp.qp_state == e.IBV_QPS_ERR


def test_wrong_key_ends_both_sides() -> None:
    with ends() as (a, b):
        wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(4)])
        wr.set_wr_rdma(b.mr.rkey ^ 1, b.mr.buf)
        b.recv(4)
        a.qp.post_send(wr)
        assert a.wait()[0].status == e.IBV_WC_REM_ACCESS_ERR
        assert b.wait()[0].status == e.IBV_WC_WR_FLUSH_ERR
        assert (a.qp.qp_state, b.qp.qp_state) == (e.IBV_QPS_ERR, e.IBV_QPS_ERR)


def test_providers() -> None:
    with pytest.raises(ValueError, match="expected one of userspace, kernel"):
        providers.load("nic")
    with pytest.raises(PyverbsUserError, match="at least one SGE"):
        providers.load("userspace", addresses=[]).SendWR()
