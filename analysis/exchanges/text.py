"""What the exchanges of pingpong and perftest have in common: both ends list their queue pairs."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.dialogue import Dialogue
from analysis.negotiated import Announced, End, Negotiated


def printed(end: End, sq_psn: int | None) -> Announced:
    """An end as a log tells it."""
    return Announced(end, sq_psn, copies=() if sq_psn is None else (sq_psn,))


def pairs(
    source: str, dialogue: Dialogue, client: Sequence[Announced], server: Sequence[Announced]
) -> list[Negotiated]:
    """A statement for each two queue pairs: the ends list theirs in the same order."""
    witness = "clear" if dialogue.tls is None else "tls"
    times = {said.frame: said.time_ns for said in dialogue.said}
    found = []
    for a, b in zip(client, server, strict=False):
        frame = max(a.frame or 0, b.frame or 0)
        found.append(
            Negotiated(
                source=source,
                witness=witness,
                observer=dialogue.observer,
                a=a,
                b=b,
                frame=frame,
                time_ns=times.get(frame),
                stream=dialogue.stream,
                tls=dialogue.tls,
            )
        )
    return found


def stated(
    source: str, observer: str, local: Sequence[Announced], remote: Sequence[Announced]
) -> list[Negotiated]:
    """A statement for each two queue pairs that a log lists."""
    return [
        Negotiated(source=source, witness="endpoint_log", observer=observer, a=a, b=b)
        for a, b in zip(local, remote, strict=False)
    ]
