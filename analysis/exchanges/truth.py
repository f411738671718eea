"""What an endpoint logged of its own exchange: the `negotiated` events of a truth file.

The PSNs that it then gave to its queue pair (`qp_state`: sq_psn to RTS, rq_psn to RTR) are further
copies of the two announced ones, and must agree with them.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from analysis.exchanges.rocelab import announced
from analysis.negotiated import Announced, Negotiated
from captures.truth import Event, Truth

SOURCE = "truth"

Given = dict[str, tuple[int, ...]]
NOTHING: Given = {}


def read(truth: Truth, observer: str) -> list[Negotiated]:
    """A statement for each `negotiated` event; `observer` names the file."""
    given = _given(truth)
    found = [_negotiated(event, observer, given) for event in truth.named("negotiated")]
    return [said for said in found if said is not None]


def _given(truth: Truth) -> dict[int | str, Given]:
    """The PSNs given to the queue pair of each connection, by attribute."""
    given: defaultdict[int | str, Given] = defaultdict(dict)
    for event in truth.named("qp_state"):
        attributes = event.get("attributes")
        for name in ("sq_psn", "rq_psn"):
            value = attributes.get(name) if isinstance(attributes, dict) else None
            if type(value) is int:
                of = given[_key(event)]
                of[name] = (*of.get(name, ()), value)
    return given


def _key(event: Event) -> int | str:
    connection = event.get("connection")
    return connection if type(connection) is int else repr(connection)


def _negotiated(event: Event, observer: str, given: dict[int | str, Given]) -> Negotiated | None:
    used = given.get(_key(event), NOTHING)
    local = _end(event.get("local"), used.get("sq_psn", ()))
    remote = _end(event.get("remote"), used.get("rq_psn", ()))
    if local is None or remote is None:
        return None
    a, b = (local, remote) if event.get("role") == "client" else (remote, local)
    tls = event.get("tls")
    return Negotiated(
        source=SOURCE,
        witness="endpoint_log",
        observer=observer,
        a=a,
        b=b,
        time_ns=event.time_ns,
        local=local.end,
        number=number if type(number := event.get("connection")) is int else None,
        tls=tls if isinstance(tls, dict) else None,
    )


def _end(values: Any, given: tuple[int, ...]) -> Announced | None:
    return announced(values, given=given) if isinstance(values, dict) else None
