"""One connection in full: evidence, state walk, ladder, charts, parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from analysis.conversations import SIDES, Connection
from analysis.exchanges import rocelab
from analysis.figures import cm_steps, tcp_steps
from analysis.figures import sightings as figures
from analysis.figures.ladder import Phase, Rung, Step
from analysis.figures.sightings import Sightings
from analysis.figures.tcp_steps import Told
from analysis.finding import PsnVerdict
from analysis.negotiated import Announced, Negotiated
from analysis.report import drawings, evidence, walk, words, work
from analysis.report.material import Material
from analysis.report.view import ChartView, ConnectionView, ParameterView

ANNOUNCED = {
    "tls": "inside TLS",
    "endpoint_log": "in the endpoints' logs",
    "clear": "in clear text",
}
"""Kind of evidence -> where the announcement was made."""


def view(material: Material, connection: Connection, sightings: Sightings) -> ConnectionView:
    """Everything the page says of `connection`, whose packets are `sightings`."""
    name = material.name(connection.number)
    ends = {side: connection.end(side) for side in SIDES}
    logs = material.logs(connection)
    roles = {side: logs[side][1] if side in logs else "" for side in SIDES}
    steps, source = walk.walk(material, connection)
    return ConnectionView(
        name=name,
        a=evidence.end_view(ends["a"], roles["a"]),
        b=evidence.end_view(ends["b"], roles["b"]),
        paired_by=words.PAIRED_BY.get(connection.paired_by, ""),
        announced_where=_where(connection),
        directions=evidence.directions(material, connection),
        walk=steps,
        walk_source=source,
        work=work.work(material, connection),
        ladder=drawings.ladder_view(
            rungs(material, connection, sightings),
            captions(material, connection),
            f"Ladder diagram of {name}",
            material.start_ns,
        ),
        charts=_charts(material, connection, sightings),
        negotiated=list(_parameters(connection)),
    )


def _where(connection: Connection) -> str:
    told = next((n.witness for n in connection.negotiated if n.witness == "tls"), None)
    told = told or next((n.witness for n in connection.negotiated), None)
    return ANNOUNCED.get(told or "", "")


def rungs(material: Material, connection: Connection, sightings: Sightings) -> list[Rung]:
    """The ladder: the TCP connection of the exchange, and the RoCE packets, in order of time."""
    judged = material.judgements_of(connection.number)
    first = {
        side: (j.frame, "the announced PSN" if j.verdict is PsnVerdict.MATCH else "first request")
        for side, j in judged.items()
        if j.frame is not None
    }
    data = list(figures.rungs(sightings, first))
    exchange = _exchange(material, connection)
    start = data[0].frame if data else 0
    before = [step for step in exchange if not data or step.frame < start]
    rest = sorted((*data, *exchange[len(before) :]), key=lambda step: step.frame)
    found: list[Rung] = []
    if before:
        found += [Phase("the ends connect and agree"), *before]
    if rest:
        found += [Phase("data flows"), *rest]
    return found


def _exchange(material: Material, connection: Connection) -> list[Step]:
    """What negotiated `connection` and is in the capture: a TCP connection, or CM datagrams."""
    table = material.table
    for said in connection.negotiated:
        told = _announced(connection, said)
        stream = material.stream(said.stream)
        if stream is not None:
            rows = [row for frame in stream.frames if (row := material.row(frame)) is not None]
            opener = "a" if said.a.end == connection.a else "b"
            told |= _messages(material, stream.number, told)
            return tcp_steps.steps(table, rows, stream, opener, told)
        if told:
            return cm_steps.steps(table, connection.a.ip, told)
    return []


def _announced(connection: Connection, said: Negotiated) -> dict[int, Told]:
    """Frame -> what it announces."""
    ends = {connection.a: "a", connection.b: "b"}
    how = "decrypted" if said.witness == "tls" else "in clear"
    return {
        announced.frame: Told("", announced.sq_psn, ends[announced.end], how)
        for announced in (said.a, said.b)
        if announced.frame is not None and announced.end in ends
    }


def _messages(material: Material, stream: int, told: Mapping[int, Told]) -> dict[int, Told]:
    """What the messages of our own exchange say, by frame."""
    found: dict[int, list[str]] = {}
    for dialogue in material.context.dialogues:
        if dialogue.stream == stream:
            for said, values in rocelab.messages(dialogue):
                found.setdefault(said.frame, []).append(tcp_steps.title(values))
    plain = Told()
    return {
        frame: replace(told.get(frame, plain), words=", ".join(titles))
        for frame, titles in found.items()
    }


def captions(material: Material, connection: Connection) -> tuple[str, str]:
    """What stands above the ends of a ladder: address and role."""
    logs = material.logs(connection)
    a, b = (
        " ".join((connection.end(side).ip or "unknown", *logs.get(side, ())[1:2])) for side in SIDES
    )
    return a, b


def _charts(material: Material, connection: Connection, sightings: Sightings) -> list[ChartView]:
    return [
        drawings.chart_view(f"c{connection.number}", sightings, side, base, material.start_ns)
        for side, base in sightings.bases().items()
    ]


def _parameters(connection: Connection) -> Iterable[ParameterView]:
    """What both ends announced, by the exchange in the capture if there is one."""
    told = sorted(connection.negotiated, key=lambda n: n.witness != "tls")
    if not told:
        return
    both = {side: _of(told[0], connection, side) for side in SIDES}
    names = dict.fromkeys(name for said in both.values() for name in said)
    for name in names:
        shown = [_value(name, both[side].get(name)) for side in SIDES]
        yield ParameterView(name, shown[0], shown[1], words.PARAMETERS.get(name, ""))


def _of(said: Negotiated, connection: Connection, side: str) -> Mapping[str, Any]:
    announced: Announced = said.a if said.a.end == connection.end(side) else said.b
    given = dict(announced.parameters)
    given.setdefault("qpn", announced.end.qpn)
    given.setdefault("sq_psn", announced.sq_psn)
    return given


def _value(name: str, value: Any) -> str:
    if value is None:
        return "not said"
    if isinstance(value, int) and name in words.HEXADECIMAL:
        return f"0x{value:0{words.HEXADECIMAL[name]}x}"
    return f"{value:,}" if isinstance(value, int) else str(value)
