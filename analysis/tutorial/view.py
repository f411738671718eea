"""What the tutorial shows: drawn from declarations, tables and sample captures, nothing by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

import captures
from analysis.document import Results
from analysis.figures import bits, ladder, machine, psn_time
from analysis.figures.palette import PAGE
from analysis.figures.sightings import drawn, sight
from analysis.passes import PASSES, manual
from analysis.report import connection, packets
from analysis.report.material import Material
from analysis.verify import verify
from dissectors import aeth
from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.header import Header
from dissectors.immdt import ImmDt
from dissectors.opcode import BY_VALUE
from dissectors.opcode import name as opcode_name
from dissectors.reth import RETH

SAMPLES = Path(captures.__file__).parent / "samples"
CONVERSATION, WRAP, NOT_READY, AHEAD = (
    f"rxe61_{name}.pcap" for name in ("pyverbs_rc", "pyverbs_wrap", "err_rnr", "err_psnahead")
)
"""Real Soft-RoCE traffic that the chapters show."""
SHOWN_FRAME = 34
"""The frame of CONVERSATION whose layers are shown: the first packet of an RDMA WRITE."""
HEADERS = (BTH, RETH, AETH, AtomicETH, AtomicAckETH, ImmDt, DETH)
SYNDROMES = (0x1F, 0x03, 0x2C, 0x20, *aeth.NAK_NAMES)
RUNGS = 40
PAUSE_NS = 500_000_000
"""What comes after a pause this long is left out of the chart."""


@dataclass(frozen=True, slots=True)
class HeaderView:
    """A header: its diagram in both widths, and (name, bits, meaning) of each field."""

    name: str
    doc: str
    size: int
    diagrams: Sequence[Markup]
    fields: Sequence[tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class OpcodeView:
    """An opcode and what follows it."""

    code: int
    name: str
    headers: Sequence[str]
    request: bool
    payload: bool


@dataclass(frozen=True, slots=True)
class LadderView:
    """A ladder in both widths."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True, slots=True)
class TutorialView:
    """The whole tutorial."""

    layers: Sequence[Mapping[str, str]]
    headers: Sequence[HeaderView]
    opcodes: Sequence[OpcodeView]
    machine: Markup
    conversation: LadderView
    wrap: Markup
    wrap_legend: Sequence[tuple[str, str, str]]
    not_ready: LadderView
    ahead: LadderView
    syndromes: Sequence[tuple[int, str]]
    passes: Sequence[tuple[str, str]]
    scenarios: Sequence[tuple[str, str]]


def view(
    transitions: Sequence[Mapping[str, Any]], scenarios: Sequence[tuple[str, str]]
) -> TutorialView:
    """Everything, drawn anew."""
    steps = [machine.Transition(**step) for step in transitions]
    conversation = verify(SAMPLES / CONVERSATION)
    return TutorialView(
        layers=_layers(conversation),
        headers=[_header(header) for header in HEADERS],
        opcodes=_opcodes(),
        machine=machine.draw(steps, PAGE),
        conversation=_ladder(conversation, "A whole conversation"),
        wrap=_chart(verify(SAMPLES / WRAP)),
        wrap_legend=[
            ("request", psn_time.PATHS["request"], PAGE.a),
            ("READ response, atomic result", psn_time.PATHS["response"], PAGE.b),
            ("acknowledgement", psn_time.PATHS["ack"], PAGE.b),
        ],
        not_ready=_ladder(verify(SAMPLES / NOT_READY), "Receiver not ready"),
        ahead=_ladder(verify(SAMPLES / AHEAD), "PSN sequence error"),
        syndromes=[(code, aeth.decode(code).text) for code in SYNDROMES],
        passes=[(name, manual(name).partition("\n")[0]) for name in PASSES],
        scenarios=scenarios,
    )


def _layers(results: Results) -> Sequence[Mapping[str, str]]:
    table = results.context.table
    row = int(table["frame"].searchsorted(table["frame"].dtype.type(SHOWN_FRAME)))
    frame = table.frame_bytes(row)
    described: Sequence[Mapping[str, str]] = packets.data([(frame, len(frame), table.packet(row))])[
        "headers"
    ]
    return described


def _header(header: type[Header]) -> HeaderView:
    doc = (header.__doc__ or "").partition("\n")[0]
    fields = [(field.name, field.bits, field.doc) for field in header.fields]
    drawings = [bits.draw(header, PAGE, bit) for bit in (bits.WIDE, bits.NARROW)]
    return HeaderView(header.__name__, doc, header.size, drawings, fields)


def _opcodes() -> list[OpcodeView]:
    return [
        OpcodeView(
            op.value,
            opcode_name(op.value),
            [header.__name__ for header in op.headers],
            op.is_request,
            op.has_payload,
        )
        for op in BY_VALUE
        if op is not None and op.transport == "RC"
    ]


def _ladder(results: Results, title: str) -> LadderView:
    material = Material(results)
    (found, *_) = results.context.conversations.connections
    packets_ = sight(material.table, results.context.sequences, found.number)
    rungs = ladder.elide(connection.rungs(material, found, packets_), RUNGS)
    names = connection.captions(material, found)
    wide, narrow = (
        ladder.draw(rungs, names, layout, PAGE, title=title, start_ns=material.start_ns)
        for layout in (ladder.WIDE, ladder.NARROW)
    )
    return LadderView(wide, narrow)


def _chart(results: Results) -> Markup:
    material = Material(results)
    packets_ = sight(material.table, results.context.sequences, 0)
    points = drawn(packets_, "a").points
    points = [point for point in points if point.time_ns - points[0].time_ns < PAUSE_NS]
    base = packets_.bases()["a"]
    specification = psn_time.chart(points, base, "a", material.start_ns, PAGE)
    return Markup(vl_convert.vegalite_to_svg(specification))
