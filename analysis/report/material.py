"""What the report is made from: a judged capture, and the ways the page looks things up in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.context import Context
from analysis.conversations import SIDES, Connection
from analysis.document import Results
from analysis.finding import Finding, Judgement, Verdict
from analysis.streams import Stream


@dataclass(frozen=True)
class Material:
    """A judged capture."""

    results: Results

    @property
    def context(self) -> Context:
        return self.results.context

    @property
    def verdict(self) -> Verdict:
        return self.results.verdict

    @property
    def table(self) -> Any:
        return self.context.table

    @property
    def file(self) -> Path:
        """The capture file."""
        return Path(self.context.capture.file)

    @cached_property
    def findings(self) -> Sequence[Finding]:
        return self.results.findings

    @cached_property
    def judgements(self) -> Sequence[Judgement]:
        return self.results.judgements

    @cached_property
    def start_ns(self) -> int:
        """When the first frame was captured; 0 for an empty capture."""
        times = self.table["time_ns"]
        return int(times[0]) if len(times) else 0

    def row(self, frame: int | None) -> int | None:
        """The table's row of a frame; None where it has none."""
        if frame is None:
            return None
        frames = self.table["frame"]
        row = int(frames.searchsorted(frames.dtype.type(frame)))
        return row if row < len(frames) and int(frames[row]) == frame else None

    def stream(self, number: int | None) -> Stream | None:
        """The TCP connection of that number."""
        return next((s for s in self.context.streams if s.number == number), None)

    @cached_property
    def _judged(self) -> Mapping[int, dict[str, Judgement]]:
        by_connection: defaultdict[int, dict[str, Judgement]] = defaultdict(dict)
        for judgement in self.judgements:
            by_connection[judgement.connection][judgement.sender] = judgement
        return by_connection

    def judgements_of(self, connection: int) -> dict[str, Judgement]:
        """By sender, `a` or `b`."""
        return self._judged.get(connection, {})

    def name(self, connection: int) -> str:
        return f"Connection {connection}"

    def logs(self, connection: Connection) -> dict[str, tuple[str, str, Any]]:
        """End -> (log, role, the log's own number of the connection), where its log knows it."""
        ends = {
            (end.ip, end.qpn): side
            for side, end in zip(SIDES, (connection.a, connection.b), strict=True)
        }
        found: dict[str, tuple[str, str, Any]] = {}
        for log, truth in self.context.truths.items():
            for event in truth.named("negotiated"):
                local, remote = (_end(event.get(key)) for key in ("local", "remote"))
                if local in ends and remote in ends and local != remote:
                    role = str(event.get("role", log))
                    found[ends[local]] = (log, role, event.get("connection"))
        return found


def _end(told: Any) -> tuple[Any, Any]:
    if not isinstance(told, Mapping):
        return None, None
    ip, qpn = told.get("ip"), told.get("qpn")
    return (ip if isinstance(ip, str) else None), (qpn if isinstance(qpn, int) else None)
