"""The figures of a judged capture by name, each as a drawing that stands alone."""

from __future__ import annotations

from typing import Any

import vl_convert

from analysis.document import Results
from analysis.figures import ladder, opcode_counts, psn_time
from analysis.figures.sightings import drawn, sight
from analysis.report import connection, evidence, starting, traffic
from analysis.report.material import Material

CONNECTIONS = 20
"""Connections drawn."""
RUNGS = 400
"""Rungs of a ladder in a file of its own."""


def gallery(results: Results) -> dict[str, str]:
    """Name -> SVG text: ladder and PSN charts of each connection, opcodes, starting PSNs."""
    material = Material(results)
    figures: dict[str, str] = {}
    for found in evidence.by_trouble(material)[:CONNECTIONS]:
        sightings = sight(material.table, material.context.sequences, found.number)
        rungs = ladder.elide(connection.rungs(material, found, sightings), RUNGS)
        name = material.name(found.number)
        figures[f"ladder-{found.number}"] = ladder.draw(
            rungs,
            connection.captions(material, found),
            title=name,
            start_ns=material.start_ns,
            standalone=True,
        )
        for side, base in sightings.bases().items():
            points = drawn(sightings, side).points
            chart = psn_time.chart(points, base, side, material.start_ns)
            figures[f"psn-{found.number}-{side}"] = _svg(chart)
    counts = traffic.opcode_counts(material)
    if counts:
        figures["opcodes"] = _svg(opcode_counts.chart(counts))
    source = results.passes.get("psn-source")
    return figures if source is None else figures | starting.drawings(source.figures["survey"])


def _svg(specification: dict[str, Any]) -> str:
    return str(vl_convert.vegalite_to_svg(specification))
