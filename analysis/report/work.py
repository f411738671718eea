"""What the programs at both ends did, from their logs: work requests completed, data compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from analysis.conversations import Connection
from analysis.report.material import Material
from analysis.report.view import Tag, WorkRow, WorkView
from captures.truth import Event

LIMIT = 120
"""Lines shown of a connection."""
SUCCESS = "IBV_WC_SUCCESS"


def work(material: Material, connection: Connection) -> WorkView:
    """Completions and comparisons of both ends in order of time."""
    events = [
        (event, side)
        for side, (log, _, number) in material.logs(connection).items()
        for event in _about(material, log, number)
    ]
    events.sort(key=lambda pair: pair[0].time_ns)
    rows = [
        WorkRow(
            f"{(event.time_ns - material.start_ns) / 1e6:,.3f}",
            side,
            WHAT[event.name](event),
            _length(event.get("length")),
            RESULT[event.name](event),
        )
        for event, side in events[:LIMIT]
    ]
    left = len(events) - len(rows)
    return WorkView(rows, f"{left:,} more lines are in the endpoints' logs." if left > 0 else "")


def _about(material: Material, log: str, number: Any) -> Iterator[Event]:
    truth = material.context.truths[log]
    return (e for e in truth.events if e.name in WHAT and e.get("connection") == number)


def _verb(event: Event) -> str:
    return str(event.get("opcode", "")).removeprefix("IBV_WR_")


def _status(event: Event) -> Tag:
    status = str(event.get("status", ""))
    return Tag("completed", "pass") if status == SUCCESS else Tag(status, "fail")


def _compared(event: Event) -> Tag:
    good = event.get("ok") is True
    return Tag("every byte as expected", "pass") if good else Tag("bytes differ", "fail")


def _length(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


WHAT: dict[str, Callable[[Event], str]] = {
    "work": _verb,
    "checked": lambda event: f"check of {event.get('what', '')}",
}
RESULT: dict[str, Callable[[Event], Tag]] = {"work": _status, "checked": _compared}
"""Event of an endpoint's log -> what was done, and how it ended."""
