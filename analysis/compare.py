"""Runs side by side: how each recovered from the same faults, and who departs from the standard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.conversations import SIDES
from analysis.departures import Departure, departures
from analysis.document import Results
from analysis.recovery import UNPROVOKED, Fault, Reaction, recoveries, requester_timeout
from analysis.verify import Unreadable, verify

SCHEMA = 1
ROLES = {"a": "client", "b": "server"}
"""Of a run: a is who opened the exchange."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run: `name` says what made its traffic, `made` whose transport each end has.

    `reactions` stand by fault, `departures` in the order of the capture.
    """

    path: Path
    name: str
    made: dict[str, str]
    reactions: dict[Fault, Reaction]
    departures: tuple[tuple[Fault, Departure], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A fault and each run's reaction, None where it did not befall that run.

    `same` says whether all recovered in the same way.
    """

    fault: Fault
    reactions: tuple[Reaction | None, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """`rows` of all runs, in the order of the first that has the fault."""

    sides: tuple[Side, ...]
    rows: tuple[Row, ...]

    @property
    def same(self) -> bool:
        """Whether every fault was recovered from in the same way."""
        return all(row.same for row in self.rows)


def compare(paths: Sequence[Path]) -> Comparison:
    """Read and line up runs; Unreadable where one is none, or its link was recorded at one end."""
    sides = tuple(map(_side, paths))
    faults = dict.fromkeys(fault for side in sides for fault in side.reactions)
    rows = []
    for fault in sorted(faults, key=_order(sides)):
        reactions = tuple(side.reactions.get(fault) for side in sides)
        essences = {None if one is None else one.essence for one in reactions}
        rows.append(Row(fault, reactions, len(essences) == 1))
    return Comparison(sides, tuple(rows))


def _order(sides: Iterable[Side]) -> Any:
    ranks: dict[Fault, int] = {}
    for side in sides:
        for rank, fault in enumerate(side.reactions):
            ranks.setdefault(fault, rank)
    return lambda fault: (fault.connection, ranks[fault])


def _side(path: Path) -> Side:
    results = verify(path)
    context = results.context
    if results.passes["link-faults"].verdict == "not-applicable":
        raise Unreadable(
            f"{path}: expected a link recorded at both its ends, found one recorded at one; "
            "make it with: rocelab run --faults PLAN.toml"
        )
    found = recoveries(context)
    departing = []
    for one in found:
        requester = 2 * one.fault.connection + SIDES.index(one.fault.of)
        timeout_ns = requester_timeout(context, requester)
        departing += [(one.fault, each) for each in departures(one, timeout_ns)]
    made = _made(results)
    backend = context.run.backend if context.run else path.name
    return Side(path, backend, made, {one.fault: one for one in found}, tuple(departing))


def _made(results: Results) -> dict[str, str]:
    """Whose transport ends a and b have, as run.json tells."""
    run = results.context.run
    hosts = run.hosts if run else {}
    return {
        end: str(host["provider"])
        for end, role in ROLES.items()
        if isinstance(host := hosts.get(role), dict) and "provider" in host
    }


def end_name(side: Side, end: str) -> str:
    """An end as people know it: client or server, and whose transport it has."""
    return f"{ROLES[end]} ({side.made[end]})" if end in side.made else end


def fault_name(fault: Fault) -> str:
    """A fault in words: "client's 3 RDMA WRITE MIDDLE lost"."""
    if fault.kind == UNPROVOKED:
        return f"{ROLES[fault.of]}: nothing, at {fault.place}"
    nth = "" if fault.nth == 1 else f", passing {fault.nth},"
    return f"{ROLES[fault.sender]}'s {fault.place} {fault.opcode}{nth} {fault.kind}"


def document(comparison: Comparison) -> dict[str, Any]:
    """As one JSON document."""
    return {
        "schema": SCHEMA,
        "same": comparison.same,
        "runs": [
            {
                "path": str(side.path),
                "name": side.name,
                "transport": {ROLES[end]: made for end, made in side.made.items()},
                "departures": [
                    {
                        "fault": fault_name(fault),
                        "end": ROLES[departure.end],
                        "text": departure.text,
                    }
                    for fault, departure in side.departures
                ],
            }
            for side in comparison.sides
        ],
        "faults": [
            {
                **asdict(row.fault),
                "text": fault_name(row.fault),
                "same": row.same,
                "reactions": [_reaction(one) for one in row.reactions],
            }
            for row in comparison.rows
        ],
    }


def _reaction(reaction: Reaction | None) -> dict[str, Any] | None:
    if reaction is None:
        return None
    return {
        "text": str(reaction),
        "naks": reaction.naks,
        "rnr_naks": reaction.not_ready,
        "resends": [asdict(one) for one in reaction.resends],
        "answered": [{"place": place, "opcode": opcode} for place, opcode in reaction.answered],
    }
