"""The verbs objects of one end of a connection, and the state walk of its queue pair.

RESET -> INIT (which port, what the peer may do) -> RTR (who the peer is, the PSN to expect) -> RTS
(the PSN to begin with, how to retry): IBTA vol. 1, 10.3.1. After RTR a queue pair answers
requests, after RTS it may send them.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable
from typing import Any, Self

from lab.exchange.messages import EndpointInfo
from lab.flows.end import FlowError

PORT_NUM = 1
INIT = {"port_num": PORT_NUM, "pkey_index": 0}
RESPONDER = {"max_dest_rd_atomic": 16, "min_rnr_timer": 12}  # 12: 0.64 ms
REQUESTER = {"max_rd_atomic": 16, "timeout": 14, "retry_cnt": 7, "rnr_retry": 7}  # 14: 67 ms
WORK = 64  # work requests outstanding on either queue

Record = Callable[..., None]


def gid_of(address: str) -> str:
    """The GID of an IP address as IPv6 text; of an IPv4 address its mapped form."""
    ip = ipaddress.ip_address(address)
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
        self, verbs: Any, context: Any, length: int, record: Record, *, access: int | None = None
    ) -> None:
        """Register `length` bytes with `access` (default: all) and create an RC QP in RESET."""
        self.verbs, self._record = verbs, record
        self.state = "RESET"
        self._close = contextlib.ExitStack()
        everything = (
            verbs.IBV_ACCESS_LOCAL_WRITE
            | verbs.IBV_ACCESS_REMOTE_WRITE
            | verbs.IBV_ACCESS_REMOTE_READ
            | verbs.IBV_ACCESS_REMOTE_ATOMIC
        )
        self.access = int(everything if access is None else access)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.pd = self._owned(verbs.PD(context))
            self.mr = self._owned(verbs.MR(self.pd, length, self.access))
            self.cq = self._owned(verbs.CQ(context, 2 * WORK))
            cap = verbs.QPCap(max_send_wr=WORK, max_recv_wr=WORK, max_send_sge=1, max_recv_sge=1)
            init = verbs.QPInitAttr(
                qp_type=verbs.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=1
            )
            self.qp = self._owned(verbs.QP(self.pd, init))
            undo.pop_all()

    def _owned(self, thing: Any) -> Any:
        self._close.callback(thing.close)
        return thing

    def connect(
        self, local: EndpointInfo, remote: EndpointInfo, path_mtu: int, sgid_index: int
    ) -> None:
        """Walk the queue pair to RTS: rq_psn is the peer's sq_psn, sq_psn this end's own."""
        verbs = self.verbs
        attr = verbs.QPAttr(port_num=PORT_NUM)
        self._move(attr, "INIT", {**INIT, "qp_access_flags": self.access})
        route = verbs.GlobalRoute(
            dgid=verbs.GID(ipaddress.IPv6Address(remote.gid).exploded),
            sgid_index=sgid_index,
            hop_limit=64,
        )
        attr.ah_attr = verbs.AHAttr(port_num=PORT_NUM, is_global=1, gr=route)
        attr.path_mtu = getattr(verbs, f"IBV_MTU_{path_mtu}")
        named = {"dgid": remote.gid, "sgid_index": sgid_index, "path_mtu": path_mtu}
        self._move(
            attr,
            "RTR",
            {"dest_qp_num": remote.qpn, "rq_psn": remote.sq_psn, **RESPONDER},
            named,
        )
        self._move(attr, "RTS", {"sq_psn": local.sq_psn, **REQUESTER})

    def _move(
        self, attr: Any, to: str, values: dict[str, int], named: dict[str, Any] | None = None
    ) -> None:
        """Set `values` in `attr` and move to state `to`; `named` is what was set already."""
        for name, value in values.items():
            setattr(attr, name, value)
        getattr(self.qp, f"to_{to.lower()}")(attr)
        attributes = {**(named or {}), **values}
        self._record(
            "qp_state",
            qpn=self.qp.qp_num,
            **{"from": self.state, "to": to},
            attributes=attributes,
        )
        self.state = to

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Destroy QP, CQ, MR and PD; a second call does nothing."""
        self._close.close()
