"""The JSON document of `rocelab verify --json`. Keys are only ever added."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.context import Context
from analysis.conversations import Connection
from analysis.finding import Answer, Finding, Judgement, PassResult, Severity, Verdict
from analysis.negotiated import End, Negotiated
from dissectors.icrc import ICRC_BAD, ICRC_OK, ICRC_UNCHECKABLE

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Results:
    """A capture judged: what was seen, what each pass says (by name), and what that comes to."""

    context: Context
    passes: Mapping[str, PassResult]
    verdict: Verdict

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """Every direction of every connection: a of the first, b of the first, a of the next..."""
        return tuple(j for result in self.passes.values() for j in result.judgements)

    @property
    def source_alone(self) -> bool:
        """Whether nothing fails but the source of the PSNs: what was agreed may well be used."""
        failed = [name for name, result in self.passes.items() if result.verdict is Verdict.FAIL]
        return failed == ["psn-source"]

    @property
    def tls_unchecked(self) -> bool:
        """Whether some PSN was said inside TLS that nobody read, and rests on a log's word."""
        return any(finding.code == "tls-not-checked" for finding in self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order of the passes."""
        return tuple(f for result in self.passes.values() for f in result.findings)


def document(results: Results) -> dict[str, Any]:
    """Everything a machine needs of `results`, as JSON values."""
    return {
        key: list(value) if isinstance(value, Iterator) else value
        for key, value in _members(results)
    }


def text(results: Results) -> Iterator[str]:
    """The document as JSON text, piece by piece."""
    return lines(_members(results))


def lines(members: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """A JSON object as text: a line for each member, or for each element of one that iterates.

    A hundred thousand connections come to more text than anyone wants to hold at once.
    """
    encode = json.JSONEncoder().encode
    yield "{"
    for number, (key, value) in enumerate(members):
        yield f"{',' if number else ''}\n  {encode(key)}: "
        if isinstance(value, Iterator):
            yield "["
            for place, one in enumerate(value):
                yield f"{',' if place else ''}\n    {encode(one)}"
            yield "\n  ]"
        else:
            yield encode(value)
    yield "\n}\n"


def _members(results: Results) -> Iterator[tuple[str, Any]]:
    """Key and value of everything in the document; long lists as iterators."""
    context = results.context
    directions: dict[int, list[Judgement]] = {}
    for judgement in results.judgements:
        directions.setdefault(judgement.connection, []).append(judgement)
    yield "schema", SCHEMA
    yield "run", None if context.folder is None else str(context.folder)
    yield "verdict", str(results.verdict)
    yield "capture", _capture(context)
    yield (
        "connections",
        (
            _connection(connection)
            | {"directions": [_direction(j) for j in directions.get(connection.number, [])]}
            for connection in context.conversations.connections
        ),
    )
    yield "findings", (_finding(finding) for finding in results.findings)
    yield (
        "passes",
        [
            {"id": name, "verdict": str(result.verdict), "summary": result.summary}
            for name, result in results.passes.items()
        ],
    )
    yield "psn_source", _psn_source(results)


def _psn_source(results: Results) -> dict[str, Any] | None:
    """The survey of starting PSNs, if that was asked; the PSNs stand with their connections."""
    source = results.passes.get("psn-source")
    if source is None:
        return None
    from analysis.survey import document as surveyed  # noqa: PLC0415 - loads scipy

    return surveyed(source.figures["survey"])


def unreadable(path: Path, message: str) -> dict[str, Any]:
    """The document of an input that cannot be read: inconclusive, and the finding says why."""
    nothing = dict.fromkeys(("packets", "roce_packets", "icrc_ok", "icrc_bad", "icrc_unchecked"), 0)
    folder = path.is_dir()
    return {
        "schema": SCHEMA,
        "run": str(path) if folder else None,
        "verdict": str(Verdict.INCONCLUSIVE),
        "capture": {"file": None if folder else str(path), **nothing},
        "connections": [],
        "findings": [_finding(Finding("unreadable", Severity.ERROR, message))],
        "passes": [],
    }


def _capture(context: Context) -> dict[str, Any]:
    status = context.table["icrc_status"]
    return {
        "file": context.capture.file,
        "packets": len(context.table),
        "roce_packets": int(context.roce.sum()),
        "icrc_ok": int(np.count_nonzero(status == ICRC_OK)),
        "icrc_bad": int(np.count_nonzero(status == ICRC_BAD)),
        "icrc_unchecked": int(np.count_nonzero(status == ICRC_UNCHECKABLE)),
    }


def _connection(connection: Connection) -> dict[str, Any]:
    said = _best(connection)
    return {
        "transport": connection.transport,
        "a": _end(connection.a),
        "b": _end(connection.b),
        "paired_by": connection.paired_by,
        "negotiated_by": None if said is None else said.source,
        "convention": None if said is None else str(said.convention),
        "tls": next((dict(s.tls) for s in connection.negotiated if s.tls is not None), None),
    }


def _best(connection: Connection) -> Negotiated | None:
    """The statement that counts most: what the capture itself shows before what was logged."""
    order = {"tls": 0, "clear": 1, "endpoint_log": 2}
    return min(connection.negotiated, key=lambda said: order.get(said.witness, 3), default=None)


def _end(end: End) -> dict[str, Any]:
    return {"ip": end.ip, "qpn": end.qpn}


def _direction(judgement: Judgement) -> dict[str, Any]:
    return {
        "from": judgement.sender,
        "announced_sq_psn": judgement.announced,
        "first_request_psn": judgement.first,
        "frame": judgement.frame,
        "verdict": str(judgement.verdict),
        "sentence": judgement.sentence,
        "witnesses": {name: _answer(answer) for name, answer in judgement.witnesses.items()},
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "value": answer.value,
        "frame": answer.frame,
        "status": str(answer.status),
        "detail": answer.detail,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "message": finding.message,
        "frames": list(finding.frames),
        "connection": finding.connection,
    }
