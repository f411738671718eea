"""What the tutorial tells of the lab, as plain values: the queue pair's table, the scenarios."""

from __future__ import annotations

from typing import Any

from lab import scenario
from lab.engine.states import TRANSITIONS, Attr, QPType


def transitions() -> list[dict[str, Any]]:
    """Every step of the table: from, to, what RC must be given, which types may make it."""
    return [
        {
            "start": start.name,
            "end": end.name,
            "required": _named(rules[QPType.RC].required) if QPType.RC in rules else (),
            "kinds": tuple(kind.name for kind in rules),
        }
        for (start, end), rules in TRANSITIONS.items()
    ]


def _named(attributes: Attr) -> tuple[str, ...]:
    return tuple(str(attribute.name).lower() for attribute in attributes)


def scenarios() -> list[tuple[str, str]]:
    """Name and title of every scenario."""
    return [(name, scenario.load(name).title) for name in scenario.names()]
