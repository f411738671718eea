"""The queue-pair state walk of both ends, from their logs or, without them, implied by the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.conversations import SIDES, Connection
from analysis.report import words
from analysis.report.material import Material
from analysis.report.view import SetView, SideView, StepView

LOGGED = "From the endpoints' own logs. Times count from the first frame of the capture."
IMPLIED = (
    "States do not cross the network and no endpoint log is at hand. The PSNs shown are those of "
    "the first requests on the wire: each end must have been given both."
)
UNKNOWN = (
    "States do not cross the network, no endpoint log is at hand, and too few packets were "
    "captured to tell which PSNs were set."
)
STATES = ("RESET", "INIT", "RTR", "RTS")
OWNER = {"a": {"sq_psn": "a", "rq_psn": "b"}, "b": {"sq_psn": "b", "rq_psn": "a"}}
"""End -> whose sequence the PSN set by an attribute starts."""


def walk(material: Material, connection: Connection) -> tuple[list[SideView], str]:
    """Both ends' walks and where they are known from."""
    logs = material.logs(connection)
    logged = []
    for side in SIDES:
        if side in logs:
            log, role, number = logs[side]
            steps = _logged(material, side, log, number)
            if steps:
                logged.append(SideView(side, role, steps))
    if len(logged) == len(SIDES):
        return logged, LOGGED
    return _implied(material, connection)


def _logged(material: Material, side: str, log: str, number: Any) -> Sequence[StepView]:
    steps = [StepView("RESET", words.ENTERED["RESET"])]
    for event in material.context.truths[log].named("qp_state"):
        if event.get("connection") != number:
            continue
        state = str(event.get("to", ""))
        attributes = event.get("attributes")
        given = attributes if isinstance(attributes, dict) else {}
        sets = [
            SetView(name, given[name] & 0xFFFFFF, owner)
            for name, owner in OWNER[side].items()
            if isinstance(given.get(name), int)
        ]
        if state == "RESET" and len(steps) == 1:
            continue
        when = f"{(event.time_ns - material.start_ns) / 1e6:,.3f} ms"
        steps.append(StepView(state, words.ENTERED.get(state, ""), when, sets))
    return steps if len(steps) > 1 else ()


def _implied(material: Material, connection: Connection) -> tuple[list[SideView], str]:
    judged = material.judgements_of(connection.number)
    first = {side: judged[side].first if side in judged else None for side in SIDES}
    if first["a"] is None and first["b"] is None:
        return [], UNKNOWN
    sides = []
    for side, peer in (("a", "b"), ("b", "a")):
        sets: dict[str, list[SetView]] = {state: [] for state in STATES}
        if (theirs := first[peer]) is not None:
            sets["RTR"].append(SetView("rq_psn", theirs, peer))
        if (own := first[side]) is not None:
            sets["RTS"].append(SetView("sq_psn", own, side))
        steps = [StepView(state, words.ENTERED[state], "", sets[state]) for state in STATES]
        sides.append(SideView(side, connection.end(side).ip or "", steps))
    return sides, IMPLIED
