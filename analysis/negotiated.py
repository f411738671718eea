"""What two ends agreed on, as one source tells it: the shape every module of `exchanges` gives."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple


class Convention(StrEnum):
    """Whose first request carries an announced PSN."""

    SENDER_CHOOSES = "sender-chooses"
    """The announced PSN is the announcer's own sq_psn (rocelab, perftest, pingpong)."""
    RECEIVER_CHOOSES = "receiver-chooses"
    """The announced PSN is the one the announcer expects: its peer's sq_psn (rdma_cm)."""


NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class End(NamedTuple):
    """One end of a connection. `ip` and `qpn` are None where nobody told."""

    ip: str | None
    qpn: int | None

    def __str__(self) -> str:
        qpn = "QP unknown" if self.qpn is None else f"QP {self.qpn:#x}"
        return f"{self.ip or 'unknown address'} {qpn}"


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of one end.

    `sq_psn` is the PSN of the first request *this end sends*, whatever the convention was (None:
    not told). `frame` is where it was announced in the capture, if there. `copies` are all
    values of it found (a source that sends it twice must agree with itself). `parameters` is
    everything else that was said, by its name in the source.
    """

    end: End
    sq_psn: int | None
    frame: int | None = None
    copies: tuple[int, ...] = ()
    path_mtu: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=lambda: NO_PARAMETERS)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What one source says of one connection.

    `source` is rocelab, rdma-multi-client, rdma-cm, pingpong, perftest, truth or expect.
    `witness` says what kind of evidence it is (`endpoint_log`, `tls`, or `clear`: seen unencrypted
    in the capture); `observer` who or what said it (a log's file, a TCP stream). `a` is the end
    that opened the exchange (TLS or TCP client, sender of CM REQ). `frame` is the last frame of the
    exchange in the capture, `time_ns` when it was said: packets of the connection come after.
    `number` is the connection's in an endpoint log, `local` the end that wrote that log.
    """

    source: str
    witness: str
    observer: str
    a: Announced
    b: Announced
    convention: Convention = Convention.SENDER_CHOOSES
    frame: int | None = None
    time_ns: int | None = None
    stream: int | None = None
    number: int | None = None
    local: End | None = None
    tls: Mapping[str, Any] | None = None

    @property
    def voice(self) -> str:
        """Who speaks: each voice tells once of each connection."""
        return self.observer if self.frame is None else self.source

    @property
    def ends(self) -> tuple[End, End]:
        """Both ends."""
        return self.a.end, self.b.end


@lru_cache(4096)
def ip_of_gid(gid: str) -> str | None:
    """The IP address that a RoCEv2 GID stands for, as text; None where it is no address."""
    try:
        address = ipaddress.ip_address(gid.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
