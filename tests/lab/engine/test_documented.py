"""docs/transport.md names every counter, event and option there is, and no other."""

from __future__ import annotations

import ast
from inspect import signature
from pathlib import Path

import lab.engine
from lab.engine.device import Device
from lab.engine.events import COUNTERS
from tests.documents import table

LOG_CALLS = {"log", "tell", "_tell"}


def events() -> dict[str, set[str]]:
    """The events that the engine's source tells of, with their keys as far as the call shows."""
    found: dict[str, set[str]] = {}
    for path in Path(next(iter(lab.engine.__path__))).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                names = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if node.func.attr in LOG_CALLS and names and isinstance(names[0], str):
                    found.setdefault(names[0], set()).update(keys(node))
    return found


def keys(call: ast.Call) -> set[str]:
    given = {word.arg for word in call.keywords if word.arg}
    literals = [*call.args, *(word.value for word in call.keywords)]
    for literal in literals:
        if isinstance(literal, ast.Dict):
            given |= {key.value for key in literal.keys if isinstance(key, ast.Constant)}  # type: ignore[misc]
    return given


def test_every_event_and_its_keys() -> None:
    documented = {
        row["event"]: set(row["keys"].split()) for row in table("transport.md", "Log of decisions")
    }
    assert documented == events()


def test_every_counter_in_order() -> None:
    rows = table("transport.md", "Counters")
    assert [row["counter"] for row in rows] == list(COUNTERS)


def test_every_option() -> None:
    options = {row["option"] for row in table("transport.md", "What can be switched on")}
    assert options == set(signature(Device).parameters) - {"source_port", "log", "burst"}
