"""The verbs objects of one end of a connection, and the state walk of its queue pair.

RESET -> INIT (which port, what the peer may do) -> RTR (who the peer is, the PSN to expect) -> RTS
(the PSN to begin with, how to retry): IBTA vol. 1, 10.3.1. After RTR a queue pair answers
requests, after RTS it may send them.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import operator
from collections.abc import Callable, Iterable
from typing import Any, Self

from lab.exchange.messages import EndpointInfo
from lab.flows.end import QKEY, FlowError
from lab.flows.flow import Setup

PORT_NUM = 1
WORK = 64  # work requests outstanding on either queue

# What the queue pair is given at each step (IBTA vol. 1, 10.3.1; enum ibv_qp_attr_mask).
CONNECTED = ("port_num", "pkey_index", "qp_access_flags")
PEER = ("ah_attr", "path_mtu", "dest_qp_num", "rq_psn")
WALK: dict[str, dict[str, tuple[str, ...]]] = {
    "RC": {
        "INIT": CONNECTED,
        "RTR": (*PEER, "max_dest_rd_atomic", "min_rnr_timer"),
        "RTS": ("sq_psn", "timeout", "retry_cnt", "rnr_retry", "max_rd_atomic"),
    },
    "UC": {"INIT": CONNECTED, "RTR": PEER, "RTS": ("sq_psn",)},
    "UD": {"INIT": ("port_num", "pkey_index", "qkey"), "RTR": (), "RTS": ("sq_psn",)},
}
USUAL = {
    "port_num": PORT_NUM,
    "pkey_index": 0,
    "qkey": QKEY,
    "max_dest_rd_atomic": 16,
    "max_rd_atomic": 16,
    "min_rnr_timer": 12,  # 0.64 ms
    "timeout": 14,  # 67 ms
    "retry_cnt": 7,
    "rnr_retry": 7,
}

Record = Callable[..., None]


def gid_of(address: str) -> str:
    """The GID of an IP address as IPv6 text without scope; of an IPv4 address its mapped form."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return str(ip) if ip.version == 6 else f"::ffff:{ip}"


def address_of(gid: str) -> str:
    """The IP address of a GID; the inverse of `gid_of`."""
    ip = ipaddress.IPv6Address(gid)
    return str(ip.ipv4_mapped or ip)


def find_gid(context: Any, address: str) -> int:
    """The index of the address' GID on the device; indices differ, so it is found by value."""
    wanted = ipaddress.IPv6Address(gid_of(address))
    found = [
        ipaddress.IPv6Address(str(context.query_gid(PORT_NUM, index)))
        for index in range(context.query_port(PORT_NUM).gid_tbl_len)
    ]
    # The last entry: where RoCEv1 and v2 share an address, v2 has the higher index.
    indices = [index for index, gid in enumerate(found) if gid == wanted]
    if not indices:
        raise FlowError(
            f"expected a GID for {address} on the device, found {[str(g) for g in found if int(g)]}"
        )
    return indices[-1]


class Connection:
    """PD, MR, CQ and QP of one end. A PD of its own: a peer's r_key opens this buffer alone.

    Use as a context manager: everything is closed in the end, in the order verbs asks for.
    """

    def __init__(
        self, verbs: Any, context: Any, length: int, record: Record, setup: Setup | None = None
    ) -> None:
        """Register `length` bytes and create a queue pair in RESET, as `setup` says."""
        self.verbs, self._record, self.setup = verbs, record, setup or Setup()
        self.state = "RESET"
        self.channel: Any = None
        self.srq: Any = None
        self.ah: Any = None
        self._close = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.pd = self._owned(verbs.PD(context))
            self.mr = self._owned(verbs.MR(self.pd, length, self._flags(self.setup.access)))
            if hasattr(verbs.CompChannel, "fd"):
                self.channel = self._owned(verbs.CompChannel(context))
            self.cq = self._owned(verbs.CQ(context, 2 * WORK, channel=self.channel))
            if self.setup.shared_receive_queue:
                attr = verbs.SrqInitAttr(verbs.SrqAttr(max_wr=WORK))
                self.srq = self._owned(verbs.SRQ(self.pd, attr))
            self.qp = self._owned(verbs.QP(self.pd, self._init_attr()))
            undo.pop_all()

    def _init_attr(self) -> Any:
        verbs = self.verbs
        return verbs.QPInitAttr(
            qp_type=getattr(verbs, f"IBV_QPT_{self.setup.qp_type}"),
            scq=self.cq,
            rcq=self.cq,
            srq=self.srq,
            cap=verbs.QPCap(max_send_wr=WORK, max_recv_wr=WORK, max_send_sge=1, max_recv_sge=1),
            sq_sig_all=1,
        )

    def _flags(self, names: Iterable[str]) -> int:
        flags = (int(getattr(self.verbs, f"IBV_ACCESS_{name}")) for name in names)
        return functools.reduce(operator.or_, flags)

    def _owned(self, thing: Any) -> Any:
        self._close.callback(thing.close)
        return thing

    def connect(
        self, local: EndpointInfo, remote: EndpointInfo, path_mtu: int, sgid_index: int
    ) -> None:
        """Walk the queue pair to RTS: rq_psn is the peer's sq_psn, sq_psn this end's own."""
        verbs = self.verbs
        route = verbs.GlobalRoute(
            dgid=verbs.GID(ipaddress.IPv6Address(remote.gid).exploded),
            sgid_index=sgid_index,
            hop_limit=64,
        )
        ah_attr = verbs.AHAttr(port_num=PORT_NUM, is_global=1, gr=route)
        values = {
            **USUAL,
            "qp_access_flags": self._flags(Setup().access),
            "ah_attr": ah_attr,
            "path_mtu": getattr(verbs, f"IBV_MTU_{path_mtu}"),
            "dest_qp_num": remote.qpn,
            "rq_psn": remote.sq_psn,
            "sq_psn": local.sq_psn,
            **self.setup.attributes,
        }
        told = {"ah_attr": {"dgid": remote.gid, "sgid_index": sgid_index}, "path_mtu": path_mtu}
        attr = verbs.QPAttr(port_num=PORT_NUM)
        for state, names in WALK[self.setup.qp_type].items():
            for name in names:
                setattr(attr, name, values[name])
            getattr(self.qp, f"to_{state.lower()}")(attr)
            self._moved(state, {name: told.get(name, values[name]) for name in names})
        if self.setup.qp_type == "UD":
            self.ah = self._owned(verbs.AH(self.pd, attr=ah_attr))

    def _moved(self, state: str, attributes: dict[str, Any]) -> None:
        step = {"from": self.state, "to": state}
        self._record("qp_state", qpn=self.qp.qp_num, **step, attributes=attributes)
        self.state = state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Destroy QP, CQ, MR and PD; a second call does nothing."""
        self._close.close()
