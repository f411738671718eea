"""What the page shows, as plain values: the templates read these and decide nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Tag:
    """A short word with a mood: pass, fail, unsure or plain."""

    text: str
    mood: str


@dataclass(frozen=True, slots=True)
class CheckView:
    """What one pass concluded."""

    name: str
    verdict: str
    mood: str
    summary: str


@dataclass(frozen=True, slots=True)
class EndView:
    """One end of a connection, described in a few words."""

    text: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class WitnessView:
    """What one witness says about a direction's sq_psn."""

    who: str
    says: str
    verdict: str
    mood: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DirectionView:
    """Announced against seen, for the requests of one end (`sender`, a or b).

    `bth` is the first request's 12 BTH bytes, or None where there is no such packet.
    """

    sender: str
    announced: int | None
    first: int | None
    frame: int | None
    verdict: str
    mood: str
    sign: str
    sentence: str
    opcode: str = ""
    bth: bytes | None = None
    witnesses: Sequence[WitnessView] = ()


@dataclass(frozen=True, slots=True)
class SetView:
    """A PSN given to a queue pair; `owner` is the end whose sequence it starts."""

    name: str
    value: int
    owner: str


@dataclass(frozen=True, slots=True)
class StepView:
    """A queue-pair state and what was set on entering it."""

    state: str
    why: str
    when: str = ""
    sets: Sequence[SetView] = ()


@dataclass(frozen=True, slots=True)
class SideView:
    """The state walk of one end."""

    end: str
    name: str
    steps: Sequence[StepView]


@dataclass(frozen=True, slots=True)
class LadderView:
    """The ladder for wide and for narrow pages, and what was left out of it."""

    wide: Markup
    narrow: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class LegendView:
    """One mark of a chart and its meaning."""

    name: str
    path: str
    fill: str
    stroke: str


@dataclass(frozen=True, slots=True)
class ChartView:
    """A PSN chart: drawn beforehand (`svg`), and its Vega specification for the page's script."""

    id: str
    sender: str
    svg: Markup
    spec: Mapping[str, Any]
    legend: Sequence[LegendView]
    caption: str


@dataclass(frozen=True, slots=True)
class ParameterView:
    """One negotiated parameter of both ends."""

    name: str
    a: str
    b: str
    meaning: str


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One thing a program did."""

    time: str
    end: str
    what: str
    length: str
    result: Tag


@dataclass(frozen=True, slots=True)
class WorkView:
    """What the programs of a connection did."""

    rows: Sequence[WorkRow]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """One connection shown in full."""

    name: str
    a: EndView
    b: EndView
    paired_by: str
    announced_where: str
    directions: Sequence[DirectionView]
    walk: Sequence[SideView]
    walk_source: str
    work: WorkView
    ladder: LadderView
    charts: Sequence[ChartView]
    negotiated: Sequence[ParameterView]


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One connection in the table of all of them."""

    name: str
    a: EndView
    b: EndView
    directions: Sequence[DirectionView]


@dataclass(frozen=True, slots=True)
class OverviewView:
    """All connections, bounded."""

    caption: str
    rows: Sequence[OverviewRow]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class PacketRow:
    """One line of the packet table. `gap` says what was left out after it."""

    frame: int
    time: str
    source: str
    destination: str
    sender: str
    connection: str
    opcode: str
    psn: int | None
    owner: str
    dest_qp: str
    payload: int
    remarks: Sequence[Tag] = ()
    gap: str = ""


@dataclass(frozen=True, slots=True)
class PacketsView:
    """The packet table and the bytes behind it (`data`, read by packets.js)."""

    caption: str
    rows: Sequence[PacketRow] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a plain table."""

    name: str
    css: str = ""

    @property
    def numeric(self) -> bool:
        return "num" in self.css.split()


@dataclass(frozen=True, slots=True)
class TableView:
    """A plain table, its cells already in words."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class DrawingView:
    """A figure and what it shows."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class MatchView:
    """A source that explains draws, and the PSNs it foretold."""

    name: str
    says: str
    weight: str
    predictions: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True)
class StartsView:
    """The section of starting PSNs."""

    verdict: str
    judgement: str
    headline: str
    meaning: str
    matches: Sequence[MatchView]
    matches_left_out: str
    drawings: Sequence[DrawingView]
    tests: TableView
    entropy: TableView


@dataclass(frozen=True, slots=True)
class OpcodeRow:
    """A line of the opcode table; `width` is its bar's, of 200."""

    name: str
    code: int
    packets: int
    request: bool
    width: float


@dataclass(frozen=True, slots=True)
class FindingView:
    """One finding; `frames` are the first few, `more_frames` counts the others."""

    code: str
    severity: str
    mood: str
    message: str
    connection: str = ""
    frames: Sequence[int] = ()
    more_frames: int = 0


@dataclass(frozen=True, slots=True)
class ReportView:
    """The whole page."""

    title: str
    source: str
    verdict: str
    headline: str
    explanation: Sequence[str]
    checks: Sequence[CheckView]
    contents: Sequence[tuple[str, str]]
    connections: Sequence[ConnectionView]
    starts: StartsView | None
    no_connections: str
    overview: OverviewView | None
    packets: PacketsView
    conversations: TableView
    opcodes: Sequence[OpcodeRow]
    findings: Sequence[FindingView]
    findings_left_out: str
    negotiated_lede: str
    facts: Sequence[tuple[str, str]]
    fingerprints: Sequence[tuple[str, str]]
    commands: Sequence[tuple[str, str]]

    @property
    def charts(self) -> dict[str, Mapping[str, Any]]:
        """Vega specifications by chart id."""
        return {chart.id: chart.spec for c in self.connections for chart in c.charts}
