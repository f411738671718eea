"""Address handles from what arrived, and what a device says of itself and its port."""

from __future__ import annotations

import errno
import socket

import pytest

from lab.verbs import libibverbs_enums as e
from lab.verbs import mem_alloc
from lab.verbs.addr import AH
from lab.verbs.cq import WC
from lab.verbs.device import Context, translate_link_layer
from lab.verbs.interface import index_of, interface_of, path_mtu_within
from lab.verbs.mr import MR
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.wr import SendWR
from tests.lab.verbs.ends import HOSTS, End, attributes, ends

QKEY = 0x11111111


def datagrams(a: End, b: End) -> None:
    for end in (a, b):
        end.qp.to_rts(attributes(end.verbs, end, end, 3, qkey=QKEY))


def say(end: End, ah: AH, qpn: int, text: bytes) -> None:
    end.mr.write(text, len(text))
    wr = SendWR(num_sge=1, sg=[end.sge(len(text))])
    wr.set_wr_ud(ah, qpn, QKEY)
    end.qp.post_send(wr)
    assert end.wait()[0].status == e.IBV_WC_SUCCESS


@pytest.mark.parametrize("addresses", [HOSTS, ("::1", "::1")])
def test_answering_a_datagram(addresses: tuple[str, str]) -> None:
    """`AH(pd, wc=, grh=, port_num=)`: the 40 bytes before the payload say who sent it."""
    with ends(addresses, qp_type=e.IBV_QPT_UD, connect=False) as (a, b):
        datagrams(a, b)
        b.recv(64, offset=1024)
        gr = a.verbs.GlobalRoute(dgid=b.ctx.query_gid(1, 0), hop_limit=9, traffic_class=0x48)
        ah = AH(a.pd, attr=a.verbs.AHAttr(is_global=1, gr=gr))
        say(a, ah, b.qp.qp_num, b"who is it?")
        asked = b.wait()[0]
        assert asked.wc_flags & e.IBV_WC_GRH
        assert b.mr.read(10, 1024 + 40) == b"who is it?"
        back = AH(b.pd, wc=asked, grh=b.mr.buf + 1024, port_num=1)
        assert back.path.destination == a.ctx.adapter.addresses[0]
        assert back.path.traffic_class == 0x48
        a.recv(64, offset=2048)
        say(b, back, asked.src_qp, b"it is b")
        assert a.wait()[0].src_qp == b.qp.qp_num
        assert a.mr.read(7, 2048 + 40) == b"it is b"


def test_answering_nobody() -> None:
    with ends(connect=False) as (a, _):
        for wc, reason in ((WC(), "has no GRH"), (WC(wc_flags=1), "expected an IP header")):
            with pytest.raises(PyverbsRDMAError, match=reason) as caught:
                AH(a.pd, wc=wc, grh=a.mr.buf, port_num=1)
            assert caught.value.error_code == errno.EINVAL


@pytest.mark.parametrize(
    ("interface", "path_mtu"),
    # What rxe makes of an interface's MTU (rxe_param.h: eth_mtu_int_to_enum, 80 bytes of headers).
    [
        (1500, 3),
        (9000, 5),
        (4176, 5),
        (4175, 4),
        (2200, 4),
        (1280, 3),
        (600, 2),
        (68, 1),
        (65536, 5),
    ],
)
def test_active_mtu(interface: int, path_mtu: int) -> None:
    assert path_mtu_within(interface) == path_mtu


def test_port() -> None:
    with ends(connect=False) as (a, _):
        port = a.ctx.query_port(1)
        assert port.active_mtu == e.IBV_MTU_4096, "loopback's MTU is 65536"
        assert (port.max_mtu, port.gid_tbl_len, port.state) == (5, 1, e.IBV_PORT_ACTIVE)
        assert port.link_layer == e.IBV_LINK_LAYER_ETHERNET
        assert translate_link_layer(port.link_layer) == "Ethernet"


def test_gid_table() -> None:
    with ends(connect=False) as (a, _):
        (entry,) = a.ctx.query_gid_table(1)
        packed = socket.inet_aton(HOSTS[0])
        assert entry.gid_str() == f"0000:0000:0000:0000:0000:ffff:{packed.hex(':', 2)}"
        assert str(a.ctx.query_gid(1, 0)) == entry.gid_str()
        assert (entry.gid_type, entry.port_num, entry.gid_index) == (e.IBV_GID_TYPE_ROCE_V2, 1, 0)
        assert entry.ndev_ifindex == socket.if_nametoindex("lo")


def test_device_attributes() -> None:
    with ends(connect=False) as (a, b):
        attr = a.ctx.query_device()
        assert attr.node_guid == attr.sys_image_guid != b.ctx.query_device().node_guid
        (first, _) = a.verbs.get_device_list()
        assert first.guid.to_bytes(8, "big") == attr.node_guid.to_bytes(8, "little")
        assert first.guid >> 56 & 2, "made here: the U/L bit of EUI-64"
        extended = a.ctx.query_device_ex()
        assert extended.orig_attr.max_qp == attr.max_qp
        assert extended.odp_caps.general_caps == e.IBV_ODP_SUPPORT
        assert extended.tso_caps.max_tso == extended.max_dm_size == 0
        assert attr.device_cap_flags & e.IBV_DEVICE_MEM_WINDOW_TYPE_2B


def test_interfaces() -> None:
    assert interface_of(socket.inet_aton("127.0.0.99")) == "lo"
    assert interface_of(socket.inet_pton(socket.AF_INET6, "::1")) == "lo"
    assert interface_of(socket.inet_aton("192.0.2.77")) is None
    assert index_of(socket.inet_aton("192.0.2.77")) == 0


@pytest.mark.parametrize("fast", [False, True])
def test_a_query_tells_the_next_psns(fast: bool) -> None:
    """As rxe_qp_to_attr: `sq_psn` will be sent next, `rq_psn` is expected next."""
    with ends(sq_psns=(0xFFFFFE, 5), fast=fast) as (a, b):
        assert (a.qp.query(0)[0].sq_psn, b.qp.query(0)[0].rq_psn) == (0xFFFFFE, 0xFFFFFE)
        for _ in range(3):
            a.send(e.IBV_WR_RDMA_WRITE, 4, to=b)
        a.wait(3)
        assert (a.qp.query(0)[0].sq_psn, b.qp.query(0)[0].rq_psn) == (1, 1)
        assert (b.qp.query(0)[0].sq_psn, a.qp.query(0)[0].rq_psn) == (5, 5)
        attr, init = a.qp.query(0)
        assert (attr.path_mtu, attr.dest_qp_num) == (e.IBV_MTU_1024, b.qp.qp_num)
        assert (init.cap.max_send_wr, init.qp_type, init.send_cq) == (100, e.IBV_QPT_RC, a.cq)


def test_memory_of_ones_own() -> None:
    """A region over memory by address, written and read by address (pyverbs.mem_alloc)."""
    with ends() as (a, b):
        address = mem_alloc.posix_memalign(4096, 4096)
        assert not address % 4096
        mr = MR(b.pd, 4096, 0xF, address=address)
        assert mr.buf == address
        a.mr.write(b"by address", 10)
        wr = SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(10)])
        wr.set_wr_rdma(mr.rkey, address)
        a.qp.post_send(wr)
        assert a.wait()[0].status == e.IBV_WC_SUCCESS
        assert mem_alloc.read(address, 10) == b"by address"
        mem_alloc.writebe32(address, 0x01020304, 1)
        assert mem_alloc.read(address, 4, 4) == b"\x01\x02\x03\x04"
        mem_alloc.writebe64(address, 1, 1)
        assert mem_alloc.read64(address, 1) == 1 << 56
        mem_alloc.write(address, "text", 4)
        assert mem_alloc.read32(address) == int.from_bytes(b"text", "little")
        mr.close()
        mem_alloc.free(address)
        mapped = mem_alloc.mmap(length=8192)
        mem_alloc.write(mapped, b"x", 1)
        mem_alloc.madvise(mapped, 8192)
        assert mem_alloc.read(mapped, 1) == b"\0"
        mem_alloc.munmap(mapped, 8192)


def test_a_closed_context_makes_nothing() -> None:
    with ends(connect=False) as (a, _):
        a.ctx.close()
        for make in (lambda: a.verbs.PD(a.ctx), lambda: a.verbs.CQ(a.ctx, 1)):
            with pytest.raises(PyverbsRDMAError) as caught:
                make()
            assert caught.value.error_code == errno.EBADF


def test_importing_a_device() -> None:
    with pytest.raises(PyverbsRDMAError) as caught:
        Context(cmd_fd=0)
    assert caught.value.error_code == errno.EOPNOTSUPP
