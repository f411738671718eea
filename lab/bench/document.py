"""The one JSON document of a benchmark."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.bench.row import Goal, Row
from lab.bench.steps import GOALS

SCHEMA = 1


def document(rows: Sequence[Row], seconds: float, machine: Mapping[str, Any]) -> dict[str, Any]:
    """`rows` with their goals; of a goal that needs a row which was not measured, `met` is null."""
    by_id = {row.id: row for row in rows}
    return {
        "schema": SCHEMA,
        "machine": dict(machine),
        "seconds": seconds,
        "rows": [
            {
                "id": row.id,
                "title": row.title,
                "note": row.note,
                "figures": dict(row.figures),
                "goals": [_judged(goal, row, by_id) for goal in GOALS.get(row.id, ())],
            }
            for row in rows
        ],
    }


def _judged(goal: Goal, row: Row, rows: Mapping[str, Row]) -> dict[str, Any]:
    return {
        "goal": str(goal),
        "figure": goal.figure,
        "of": goal.of or None,
        "measured": goal.measured(rows, row),
        "met": goal.met(rows, row),
    }


def machine() -> dict[str, Any]:
    """What the figures are measured on; `load_1min` says how much else went on before."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
