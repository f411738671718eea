"""Which packets the page shows, and the line it shows for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis.conversations import SIDES
from analysis.figures.sightings import Sighting, Sightings
from analysis.report import packets, words
from analysis.report.material import Material
from analysis.report.view import PacketRow, PacketsView, Tag
from dissectors import icrc, opcode
from dissectors.aeth import decode

MANAGEMENT_QPS = (0, 1)
LIMIT = 500
"""Packets whose bytes the page carries."""


def view(material: Material, shown: Sequence[Sightings]) -> PacketsView:
    """The packet table; `shown` are the packets of the connections shown in full."""
    table = material.table
    roce = np.flatnonzero(material.context.roce)
    if not len(roce):
        return PacketsView(f"No RoCE packet is in this capture of {len(table):,} frames.")
    wanted = _choose(material, roce, shown)
    first = {j.frame: words.DIRECTIONS[j.verdict].mood for j in material.judgements}
    rows = []
    for place, row in enumerate(wanted):
        after = wanted[place + 1] if place + 1 < len(wanted) else len(table)
        missing = np.searchsorted(roce, after) - np.searchsorted(roce, row) - 1
        gap = f"{missing:,} RoCE packets are left out here" if missing else ""
        rows.append(_row(material, row, _find(shown, row), first, gap))
    parsed = ((row, table.packet(row)) for row in wanted)
    frames = ((table.frame_bytes(r), int(table["original_length"][r]), p) for r, p in parsed)
    caption = f"All {len(roce):,} RoCE packets of the capture."
    if len(wanted) < len(roce):
        caption = (
            f"{len(wanted)} of {len(roce):,} RoCE packets: those that findings and verdicts name, "
            "and the beginnings of the connections. rocelab decode shows them all."
        )
    return PacketsView(caption, rows, packets.data(frames), frozenset(r.frame for r in rows))


def _choose(material: Material, roce: Any, shown: Sequence[Sightings]) -> list[int]:
    """At most LIMIT rows in capture order: named ones, then shown connections, then the rest."""
    named = [j.frame for j in material.judgements]
    named += [frame for finding in material.findings for frame in finding.frames[:10]]
    rows = (material.row(frame) for frame in named)
    chosen = dict.fromkeys(row for row in rows if row is not None and material.context.roce[row])
    share = LIMIT // max(1, len(shown))
    more = [sightings.row[:share] for sightings in shown]
    for row in np.concatenate((*more, roce[: 2 * LIMIT])).tolist():
        if len(chosen) >= LIMIT:
            break
        chosen[row] = None
    return sorted(list(chosen)[:LIMIT])


def _find(shown: Sequence[Sightings], row: int) -> Sighting | None:
    return next((seen for each in shown if (seen := each.find(row))), None)


def _row(
    material: Material,
    row: int,
    seen: Sighting | None,
    first: Mapping[int | None, str],
    gap: str,
) -> PacketRow:
    table = material.table
    frame = int(table["frame"][row])
    conversations = material.context.conversations
    direction = int(conversations.direction[row])
    sender = SIDES[direction % 2] if direction >= 0 else ""
    several = len(conversations.connections) > 1
    return PacketRow(
        frame=frame,
        time=f"{(int(table['time_ns'][row]) - material.start_ns) / 1e6:.3f}",
        source=table.source(row),
        destination=table.destination(row),
        sender=sender,
        connection=f"#{direction // 2}" if several and direction >= 0 else "",
        opcode=opcode.name(int(table["bth_opcode"][row])),
        psn=int(table["bth_psn"][row]),
        owner=seen.owner if seen else "",
        dest_qp=f"0x{int(table['bth_dest_qp'][row]):06x}",
        payload=int(table["payload_length"][row]),
        remarks=list(_remarks(material, row, seen, first.get(frame))),
        gap=gap,
    )


def _remarks(
    material: Material, row: int, seen: Sighting | None, mood: str | None
) -> Iterable[Tag]:
    if mood is not None:
        yield Tag("first request", mood)
    if seen is not None and seen.kind == "sent again":
        yield Tag("sent again", "unsure")
    if seen is not None and seen.kind == "nak":
        yield Tag(decode(seen.syndrome).text, "fail")
    if int(material.table["bth_dest_qp"][row]) in MANAGEMENT_QPS:
        for _, header in material.table.packet(row).management[1:2]:
            yield Tag(type(header).__name__.replace("_", " ", 1), "plain")
    status = int(material.table["icrc_status"][row])
    if status == icrc.ICRC_BAD:
        yield Tag("ICRC wrong", "fail")
    elif status == icrc.ICRC_UNCHECKABLE:
        yield Tag("ICRC not checkable", "unsure")
    if int(material.table["damage"][row]):
        damage = material.table.packet(row).damage
        yield Tag(str(damage or "damaged"), "fail")
