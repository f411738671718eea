"""What people see on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lab import questions
from lab.scenario import Scenario


def scenario_list(scenarios: list[Scenario]) -> None:
    """A line per scenario."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for scenario in scenarios:
        table.add_row(f"[bold]{escape(scenario.name)}[/]", escape(scenario.title))
    Console().print(table)


def scenario_page(scenario: Scenario) -> None:
    """All a scenario says about itself."""
    console = Console(highlight=False)
    defaults = scenario.defaults
    console.print(f"[bold]{escape(scenario.name)}[/]: {escape(scenario.title)}\n")
    for paragraph in scenario.page.split("\n\n"):
        console.print(escape(" ".join(paragraph.split())) + "\n")
    console.print(
        f"Defaults: --clients {defaults.clients} --family {defaults.family} --mtu {defaults.mtu}\n"
        f"Run it: rocelab run {escape(scenario.name)}{' --backend vm' if scenario.program else ''}"
    )


def doctor_report(report: dict[str, Any]) -> None:
    """The checks, then what a run would use."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in report["checks"]:
        mark = "[green]works[/]" if check["works"] else "[yellow]no[/]"
        detail = escape(check["detail"])
        if check["mend"]:
            detail += f"\n[bold]mend:[/] {escape(check['mend'])}"
        table.add_row(check["area"], f"[bold]{escape(check['name'])}[/]", mark, detail)
    console.print(table)
    console.print(f"\nA run here uses {report['hosts']} hosts, captured by {report['capture']}.")
    console.print("\nQuestions people ask (rocelab doctor NAME):")
    asked = Table(box=None, show_header=False)
    for name in questions.names():
        question, _ = questions.page(name)
        asked.add_row(f"[bold]{name}[/]", escape(question))
    console.print(asked)


def question_page(name: str) -> None:
    """A question and its answer: paragraphs fill the width, indented lines stay as they are."""
    console = Console(highlight=False)
    question, answer = questions.page(name)
    console.print(f"[bold]{escape(question)}[/]\n")
    for paragraph in answer.split("\n\n"):
        literal = paragraph.startswith("    ")
        text = paragraph if literal else " ".join(paragraph.split())
        console.print(escape(text) + "\n", soft_wrap=literal)
