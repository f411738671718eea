"""Our own exchange: JSON messages, each behind its length, inside TLS (ARCHITECTURE.md).

Each end sends one `endpoint` message; its `sq_psn` is that of the first request its sender sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from analysis.dialogue import Dialogue, Said, Sent
from analysis.negotiated import Announced, End, Negotiated, ip_of_gid

SOURCE = "rocelab"
VERSION = 1
LIMIT = 4096
ENVELOPE = ("rocelab", "type")
"""Keys of every message."""


def read(dialogue: Dialogue) -> list[Negotiated]:
    """The connection negotiated in `dialogue`; none where it is something else or incomplete."""
    ends = [_endpoint(dialogue.sent(by_client=client)) for client in (True, False)]
    if ends[0] is None or ends[1] is None:
        return []
    (first, a), (second, b) = ends[0], ends[1]
    later = max(first, second, key=lambda said: said.frame)
    return [
        Negotiated(
            source=SOURCE,
            witness="tls" if dialogue.tls is not None else "clear",
            observer=dialogue.observer,
            a=a,
            b=b,
            frame=later.frame,
            time_ns=later.time_ns,
            stream=dialogue.stream,
            tls=dialogue.tls,
        )
    ]


def messages(dialogue: Dialogue) -> Iterator[tuple[Said, dict[str, Any]]]:
    """Every message of the exchange, and where it ended; those that are not ours are left out."""
    for by_client in (True, False):
        for said, message in dialogue.sent(by_client=by_client).frames_by_length(LIMIT):
            values = _object(message)
            if values.get("rocelab") == VERSION:
                yield said, values


def _endpoint(sent: Sent) -> tuple[Said, Announced] | None:
    for said, message in sent.frames_by_length(LIMIT):
        values = _object(message)
        if values.get("rocelab") != VERSION:
            return None
        if values.get("type") == "endpoint":
            told = announced(values, said.frame)
            return (said, told) if told else None
    return None


def _object(message: bytes) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def announced(
    values: dict[str, Any], frame: int | None = None, given: tuple[int, ...] = ()
) -> Announced | None:
    """An EndpointInfo as what is known of that end; None where it is not one.

    `given` are further copies of its PSN.
    """
    qpn, sq_psn, gid = (values.get(key) for key in ("qpn", "sq_psn", "gid"))
    if not (_is_24_bits(qpn) and _is_24_bits(sq_psn) and isinstance(gid, str)):
        return None
    mtu = values.get("path_mtu")
    return Announced(
        end=End(ip_of_gid(gid), qpn),
        sq_psn=sq_psn,
        frame=frame,
        copies=(sq_psn, *given),  # type: ignore[arg-type]
        path_mtu=mtu if type(mtu) is int and mtu > 0 else None,
        parameters=values
        if values.keys().isdisjoint(ENVELOPE)
        else {k: v for k, v in values.items() if k not in ENVELOPE},
    )


def _is_24_bits(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 24
