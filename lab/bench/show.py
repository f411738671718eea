"""The table of a benchmark, for a terminal and for a README."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab.bench.row import shown

_MET = {True: "[green]met[/]", False: "[red]missed[/]", None: "[dim]not compared[/]"}


def terminal(found: Mapping[str, Any]) -> None:
    """A row a measurement, then the machine."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in found["rows"]:
        figure, besides = figures(row)
        title = escape(row["title"]) + (f"\n[dim]  {besides}[/]" if besides else "")
        goals = "\n".join(f"{_MET[goal['met']]} {escape(text(goal))}" for goal in row["goals"])
        table.add_row(title, f"[bold]{figure}[/]", goals)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"\n{escape(described(found))}", soft_wrap=True)


def markdown(found: Mapping[str, Any]) -> str:
    """The same as a table in Markdown."""
    return "\n".join(_markdown(found)) + "\n"


def _markdown(found: Mapping[str, Any]) -> Iterator[str]:
    yield "| | figure | besides | goal |"
    yield "|---|---|---|---|"
    for row in found["rows"]:
        figure, besides = figures(row)
        words = {True: "met", False: "missed", None: "not compared"}
        goals = "; ".join(f"{text(goal)}: {words[goal['met']]}" for goal in row["goals"])
        yield f"| {row['title']} | {figure} | {besides} | {goals} |"
    yield ""
    yield described(found)


def figures(row: Mapping[str, Any]) -> tuple[str, str]:
    """(the row's figure, the others and the note)."""
    first, *others = (shown(name, value) for name, value in row["figures"].items())
    return first, ", ".join([*others, *([row["note"]] if row["note"] else [])])


def text(goal: Mapping[str, Any]) -> str:
    """A goal, with the ratio found where it is one."""
    if goal["of"] is None or goal["measured"] is None:
        return str(goal["goal"])
    return f"{goal['goal']} ({goal['measured']:.2f})"


def described(found: Mapping[str, Any]) -> str:
    """The machine in a line."""
    machine = found["machine"]
    return (
        f"{machine['cpus']} x {machine['processor']}, Linux {machine['kernel']}, Python "
        f"{machine['python']}, load {machine['load_1min']} before; {found['seconds']:g} s each, "
        "two processes on loopback addresses"
    )
