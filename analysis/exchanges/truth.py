"""What an endpoint logged of its own exchange: the `negotiated` events of a truth file."""

from __future__ import annotations

from typing import Any

from analysis.exchanges.rocelab import announced
from analysis.negotiated import Negotiated
from captures.truth import Event, Truth

SOURCE = "truth"


def read(truth: Truth, observer: str) -> list[Negotiated]:
    """A statement for each `negotiated` event; `observer` names the file."""
    found = [_negotiated(event, observer) for event in truth.named("negotiated")]
    return [said for said in found if said is not None]


def _negotiated(event: Event, observer: str) -> Negotiated | None:
    local, remote = (_end(event.get(side)) for side in ("local", "remote"))
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
        tls=tls if isinstance(tls, dict) else None,
    )


def _end(values: Any) -> Any:
    return announced(values) if isinstance(values, dict) else None
