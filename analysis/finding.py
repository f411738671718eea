"""What a judgement is made of: verdicts, findings, witnesses' answers, tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """What a pass, or all of them together, concludes."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not-applicable"


def counted(count: int, what: str) -> str:
    """`1 packet`, `2 packets`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


ORDER = (Verdict.NOT_APPLICABLE, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The gravest verdict; not-applicable where there is none."""
    return max(verdicts, key=ORDER.index, default=Verdict.NOT_APPLICABLE)


class Severity(StrEnum):
    """How much a finding weighs."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class PsnVerdict(StrEnum):
    """One direction of a connection: the announced sq_psn against the wire."""

    MATCH = "match"
    MISMATCH = "mismatch"
    SWAPPED = "swapped"
    OFF_BY_N = "off-by-n"
    MISSING = "missing"
    NOT_CAPTURED = "not-captured"
    COPIES_DISAGREE = "copies-disagree"
    NOT_NEGOTIATED = "not-negotiated"


class Status(StrEnum):
    """A witness's answer beside what was announced (or, for the announcement, beside the wire)."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    MISSING = "missing"
    FAILED = "failed"


class Answer(NamedTuple):
    """What one witness says of a direction's sq_psn, where (frame), and how that compares."""

    status: Status
    value: int | None = None
    frame: int | None = None
    detail: str = ""


WITNESSES = ("endpoint_log", "tls", "bth", "tshark")
"""Every direction has an answer from each: what the endpoint logged, what the decrypted TLS bytes
say, what BTH says to our decoder, and what it says to tshark."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was announced for one direction against what is on the wire.

    `sender` is the end (`a` or `b`) whose requests these are. `announced` is its sq_psn, `first`
    the first request PSN on the wire and `frame` where that stands; None where there is none.
    """

    connection: int
    sender: str
    announced: int | None
    first: int | None
    frame: int | None
    verdict: PsnVerdict
    sentence: str
    witnesses: Mapping[str, Answer]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen. `code` is stable (`psn-mismatch`); `frames` number as Wireshark's do."""

    code: str
    severity: Severity
    message: str
    frames: tuple[int, ...] = ()
    connection: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A plain table; cells are text or numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class PassResult:
    """What one pass concludes. `judgements` come from the pass that compares PSNs alone."""

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
