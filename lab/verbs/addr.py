"""Addresses (pyverbs.addr): GID, GRH, GlobalRoute, AHAttr, AH."""

from __future__ import annotations

import copy
import ctypes
import errno
from typing import TYPE_CHECKING, Any

from dissectors.ip import internet_checksum
from lab.engine.burst import Path
from lab.engine.errors import VerbError
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, table, verb
from lab.verbs.pyverbs_error import PyverbsUserError
from lab.verbs.utils import gid_bytes, gid_text

if TYPE_CHECKING:
    from lab.verbs.adapter import Adapter
    from lab.verbs.cq import WC
    from lab.verbs.pd import PD

_IPV4_MAPPED = bytes(10) + b"\xff\xff"
GRH_SIZE = 40


class GID(PyverbsObject):
    """A global identifier: for RoCEv2 an IPv6 address, or an IPv4-mapped one.

    Support: full.
    """

    def __init__(self, val: str | None = None) -> None:
        self.raw = bytes(16) if val is None else gid_bytes(val)

    @property
    def gid(self) -> str:
        """8 words of 4 hexadecimal digits."""
        return gid_text(self.raw)

    @gid.setter
    def gid(self, val: str) -> None:
        self.raw = gid_bytes(val)

    def __str__(self) -> str:
        return self.gid


class _Route(PyverbsObject):
    """What GlobalRoute and AHAttr share."""

    _dgid = bytes(16)
    flow_label = 0
    sgid_index = 0
    hop_limit = 1
    traffic_class = 0

    @property
    def dgid(self) -> str:
        """The destination's GID as text."""
        return gid_text(self._dgid)

    @dgid.setter
    def dgid(self, val: str) -> None:
        self._dgid = gid_bytes(val)

    def _rows(self) -> list[tuple[str, object]]:
        return [
            ("dgid", self.dgid),
            ("flow label", self.flow_label),
            ("sgid index", self.sgid_index),
            ("hop limit", self.hop_limit),
            ("traffic_class", self.traffic_class),
        ]


class GlobalRoute(_Route):
    """`ibv_global_route`: where to, and what the IP header says besides.

    Support: full.
    """

    def __init__(
        self,
        dgid: GID | None = None,
        flow_label: int = 0,
        sgid_index: int = 0,
        hop_limit: int = 1,
        traffic_class: int = 0,
    ) -> None:
        if dgid is not None:
            self._dgid = dgid.raw
        self.flow_label = flow_label
        self.sgid_index = sgid_index
        self.hop_limit = hop_limit
        self.traffic_class = traffic_class

    def __str__(self) -> str:
        return table(*self._rows())


class AHAttr(_Route):
    """`ibv_ah_attr`. On Ethernet only the global route says where to; LIDs are kept
    and not used.

    Support: full.
    """

    def __init__(
        self,
        dlid: int = 0,
        sl: int = 0,
        src_path_bits: int = 0,
        static_rate: int = 0,
        is_global: int = 0,
        port_num: int = 1,
        gr: GlobalRoute | None = None,
    ) -> None:
        self.dlid = dlid
        self.sl = sl
        self.src_path_bits = src_path_bits
        self.static_rate = static_rate
        self.is_global = is_global
        self.port_num = port_num
        if is_global:
            if gr is None:
                raise PyverbsUserError("Global AH Attr is created but gr parameter is None")
            self._dgid = gr._dgid
            self.flow_label = gr.flow_label
            self.sgid_index = gr.sgid_index
            self.hop_limit = gr.hop_limit
            self.traffic_class = gr.traffic_class

    def path(self, adapter: Adapter) -> Path:
        """The engine's form of it; VerbError where it names no way on Ethernet."""
        if not self.is_global:
            raise VerbError(
                errno.EINVAL, "an address on Ethernet needs is_global and a GlobalRoute"
            )
        if self.port_num != 1:
            raise VerbError(errno.EINVAL, f"port {self.port_num}, there is port 1")
        for name, bits in (("hop_limit", 8), ("traffic_class", 8), ("flow_label", 20)):
            if getattr(self, name) >> bits:
                raise VerbError(errno.EINVAL, f"{name} {getattr(self, name)} takes {bits} bits")
        source = adapter.address(self.sgid_index)
        target = self._dgid[12:] if self._dgid.startswith(_IPV4_MAPPED) else self._dgid
        if len(source) != len(target):
            raise VerbError(
                errno.EINVAL, f"GID {self.sgid_index} and {self.dgid} are of two IP versions"
            )
        return Path(source, target, self.traffic_class, self.hop_limit, self.flow_label)

    def copy(self) -> AHAttr:
        return copy.copy(self)

    def __str__(self) -> str:
        rows: list[tuple[str, object]] = [
            ("  port num", self.port_num),
            ("  sl", self.sl),
            ("  source path bits", self.src_path_bits),
            ("  dlid", self.dlid),
            ("  static rate", self.static_rate),
            ("  is global", self.is_global),
        ]
        return table(*rows, *(self._rows() if self.is_global else []))


class GRH(PyverbsObject):
    """`ibv_grh`: the 40 bytes before a UD message.

    Support: full.
    """

    def __init__(
        self,
        sgid: GID | None = None,
        dgid: GID | None = None,
        version_tclass_flow: int = 0,
        paylen: int = 0,
        next_hdr: int = 0,
        hop_limit: int = 1,
    ) -> None:
        self.sgid = str(sgid or GID())
        self.dgid = str(dgid or GID())
        self.version_tclass_flow = version_tclass_flow
        self.paylen = paylen
        self.next_hdr = next_hdr
        self.hop_limit = hop_limit

    def __str__(self) -> str:
        return table(
            ("DGID", self.dgid),
            ("SGID", self.sgid),
            ("version tclass flow", self.version_tclass_flow),
            ("paylen", self.paylen),
            ("next header", self.next_hdr),
            ("hop limit", self.hop_limit),
        )


class AH(PyverbsCM):
    """An address handle: `AH(pd, attr=AHAttr)`, or of whoever sent a datagram:
    `AH(pd, wc=WC, grh=ADDRESS, port_num=1)` with the address of the 40 bytes before its payload.

    Support: full.
    """

    pd: PD | None = None

    def __init__(self, pd: PD, **kwargs: Any) -> None:
        adapter = pd.ctx.adapter
        with verb("Failed to create AH"):
            attr = kwargs["attr"] if len(kwargs) == 1 else _answering(adapter, **kwargs)
            self.path = attr.path(adapter)
        self.pd = pd
        pd.ahs.add(self)

    def close(self) -> None:
        self.pd = None


def _answering(adapter: Adapter, wc: WC, grh: int, port_num: int) -> AHAttr:
    """Where a datagram came from (`ibv_init_ah_from_wc`); VerbError where it does not say."""
    if not wc.wc_flags & e.IBV_WC_GRH:
        raise VerbError(errno.EINVAL, "the completion has no GRH, which says who sent")
    header = ctypes.string_at(grh, GRH_SIZE)
    # RoCEv2 over IPv4: 20 unspecified bytes, then the IPv4 header, whose checksum sums to all ones.
    ipv4 = header[20:]
    if ipv4[0] >> 4 == 4 and not internet_checksum(ipv4):
        target, own = _IPV4_MAPPED + ipv4[12:16], ipv4[16:20]
        traffic_class, flow_label, hop_limit = ipv4[1], 0, ipv4[8]
    elif header[0] >> 4 == 6:
        target, own = header[8:24], header[24:40]
        word = int.from_bytes(header[:4], "big")
        traffic_class, flow_label, hop_limit = word >> 20 & 0xFF, word & 0xFFFFF, header[7]
    else:
        raise VerbError(errno.EINVAL, "expected an IP header at `grh`, found none")
    if own not in adapter.addresses:
        raise VerbError(errno.EINVAL, "the datagram was sent to no GID of this device")
    gid = GID()
    gid.raw = target
    route = GlobalRoute(gid, flow_label, adapter.addresses.index(own), hop_limit, traffic_class)
    return AHAttr(
        dlid=wc.slid,
        sl=wc.sl,
        src_path_bits=wc.dlid_path_bits,
        is_global=1,
        port_num=port_num,
        gr=route,
    )
