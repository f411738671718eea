"""Announced against seen: the judgements of a connection, with their witnesses."""

from __future__ import annotations

from analysis.conversations import SIDES, Connection
from analysis.finding import Answer, Judgement
from analysis.negotiated import End
from analysis.report import words
from analysis.report.material import Material
from analysis.report.view import DirectionView, EndView, OverviewRow, OverviewView, WitnessView
from analysis.templating import hex24
from dissectors import opcode
from dissectors.bth import BTH

OVERVIEW_LIMIT = 200
"""Connections listed in the table of all."""


def end_view(end: End, role: str) -> EndView:
    """An end in a few words: address, role, queue pair."""
    qpn = "unknown queue pair" if end.qpn is None else f"queue pair {end.qpn} ({hex24(end.qpn)})"
    address = end.ip or "an unknown address"
    return EndView(f"{address}{f' ({role})' if role else ''}, {qpn}", role)


def directions(material: Material, connection: Connection) -> list[DirectionView]:
    """Both directions in full."""
    judged = material.judgements_of(connection.number)
    return [direction(material, judged[sender]) for sender in SIDES if sender in judged]


def direction(material: Material, judgement: Judgement) -> DirectionView:
    """One direction in full: the first request's BTH and what each witness says."""
    said = words.DIRECTIONS[judgement.verdict]
    name, bth = _first_request(material, judgement.frame)
    return DirectionView(
        sender=judgement.sender,
        announced=judgement.announced,
        first=judgement.first,
        frame=judgement.frame,
        verdict=said.tag,
        mood=said.mood,
        sign=said.sign,
        sentence=words.sentence(judgement.sentence),
        opcode=name,
        bth=bth,
        witnesses=[
            _witness(who, judgement.witnesses[who])
            for who in words.WITNESSES
            if who in judgement.witnesses
        ],
    )


def _witness(who: str, answer: Answer) -> WitnessView:
    tag = words.STATUSES[answer.status]
    says = hex24(answer.value) if answer.value is not None else "nothing"
    return WitnessView(words.WITNESSES[who], says, tag.text, tag.mood, answer.detail)


def _first_request(material: Material, frame: int | None) -> tuple[str, bytes | None]:
    """Opcode name and the 12 BTH bytes of `frame`."""
    row = material.row(frame)
    if row is None:
        return "", None
    packet = material.table.packet(row)
    bth = packet.get(BTH)
    return ("", None) if bth is None else (opcode.name(bth.opcode), bth.pack())


def overview(material: Material) -> OverviewView | None:
    """All connections in one table, those in trouble first; None where there is but one."""
    connections = by_trouble(material)
    if len(connections) < 2:
        return None
    rows = [_row(material, connection) for connection in connections[:OVERVIEW_LIMIT]]
    left = len(connections) - len(rows)
    matches = sum(j.verdict == "match" for j in material.judgements)
    caption = f"{len(connections):,} connections, {len(material.judgements):,} directions, "
    caption += f"{matches:,} of which match."
    note = (
        f"{left:,} more connections are not listed; `rocelab verify --json` has them."
        if left
        else ""
    )
    return OverviewView(caption, rows, note if left else "")


def _row(material: Material, connection: Connection) -> OverviewRow:
    judged = material.judgements_of(connection.number)
    short = []
    for sender in SIDES:
        if sender in judged:
            j = judged[sender]
            said = words.DIRECTIONS[j.verdict]
            short.append(
                DirectionView(
                    sender,
                    j.announced,
                    j.first,
                    j.frame,
                    said.tag,
                    said.mood,
                    said.sign,
                    j.sentence,
                )
            )
    ends = [EndView(str(connection.end(side))) for side in SIDES]
    return OverviewRow(material.name(connection.number), ends[0], ends[1], short)


def by_trouble(material: Material) -> list[Connection]:
    """Connections, those with a failing direction first, then the unsettled, then the others."""
    weight = {"fail": 0, "unsure": 1, "pass": 2}

    def rank(connection: Connection) -> tuple[int, int]:
        judged = material.judgements_of(connection.number).values()
        moods = [weight[words.DIRECTIONS[j.verdict].mood] for j in judged]
        return min(moods, default=3), connection.number

    return sorted(material.context.conversations.connections, key=rank)
