"""The exchange of `rdma-multi-client`, a C program: two binary messages each way inside TLS.

Each end sends 4 bytes, its PSN in network order; then a struct of 40 bytes, integers in network
order: u32 qpn, u16 lid, u8 gid[16], 2 bytes padding, u32 psn, u32 rkey, u64 addr. So the PSN is
sent twice, and both copies must agree. The PSN is the speaker's sq_psn. Its GID is that of index 0,
so that RoCE may run over IPv6 link-local addresses while TLS runs over IPv4. A client that is
turned away has sent its first message alone, and is not negotiated with.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from analysis.dialogue import Dialogue, Sent
from analysis.negotiated import Announced, End, Negotiated, ip_of_gid

SOURCE = "rdma-multi-client"

FIRST = struct.Struct("!I")
PARAMETERS = struct.Struct("!IH16s2xIIQ")
SIZE = FIRST.size + PARAMETERS.size
MASK = 0xFFFFFF


def read(dialogue: Dialogue) -> list[Negotiated]:
    """The connection negotiated in `dialogue`; none where it is something else or incomplete."""
    a, b = (_announced(dialogue.sent(by_client=client)) for client in (True, False))
    if dialogue.tls is None or a is None or b is None:
        return []
    frame = max(a.frame or 0, b.frame or 0)
    return [
        Negotiated(
            source=SOURCE,
            witness="tls",
            observer=dialogue.observer,
            a=a,
            b=b,
            frame=frame,
            time_ns=next(said.time_ns for said in dialogue.said if said.frame == frame),
            stream=dialogue.stream,
            tls=dialogue.tls,
        )
    ]


def _announced(sent: Sent) -> Announced | None:
    part = sent.at(SIZE - 1)
    if part is None:
        return None
    (early,) = FIRST.unpack_from(sent.data)
    qpn, lid, gid, psn, r_key, addr = PARAMETERS.unpack_from(sent.data, FIRST.size)
    if max(early, psn, qpn) > MASK or not _is_gid(gid):
        return None
    ip = ip_of_gid(str(IPv6Address(gid)))
    return Announced(
        End(ip, qpn),
        psn,
        part.frame,
        tuple(dict.fromkeys((early, psn))),
        parameters={"lid": lid, "addr": addr, "r_key": r_key, "gid": str(IPv6Address(gid))},
    )


def _is_gid(gid: bytes) -> bool:
    """Whether this can be the GID of a RoCE port: link-local, mapped IPv4, or a global address."""
    address = IPv6Address(gid)
    return address.is_link_local or address.ipv4_mapped is not None or address.is_global
