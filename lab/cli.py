"""The command line. Analysis commands are mounted by import string: nothing of them loads here."""

from __future__ import annotations

import json as json_module
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

USAGE = 2


def _version() -> str:
    try:
        return version("rocelab")
    except PackageNotFoundError:
        return "not installed"


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(f"rocelab: {message}\n")
    sys.exit(USAGE)


app = App(
    name="rocelab",
    help="Make real RDMA traffic, capture it, and prove what is on the wire.",
    version=_version,
)
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


@app.command
def scenarios(name: str | None = None, /) -> None:
    """List the scenarios, or say what one teaches and what to look at."""
    from lab import scenario, terminal  # noqa: PLC0415

    try:
        if name is None:
            terminal.scenario_list([scenario.load(each) for each in scenario.names()])
        else:
            terminal.scenario_page(scenario.load(name))
    except scenario.ScenarioError as error:
        _refuse(str(error))


@app.command
def doctor(*, json: Json = False) -> None:
    """Try what works on this machine; say why the rest does not and how to mend it."""
    from lab.doctor import examine  # noqa: PLC0415

    report = examine()
    if json:
        sys.stdout.write(json_module.dumps(report, indent=2) + "\n")
        return
    from lab.terminal import doctor_report  # noqa: PLC0415

    doctor_report(report)


ANALYSIS = {
    "verify": "Are the negotiated PSNs the ones on the wire?",
    "report": "Write the HTML report of a run or capture.",
    "passes": "List the judgements, or show one's manual page.",
}
for _name, _help in ANALYSIS.items():
    app.command(f"analysis.cli:{_name}", name=_name, help=_help)


def main() -> None:
    """Run one command; the exit status is 0, 1 (fail), 2 (usage) or 3 (inconclusive)."""
    try:
        app(exit_on_error=False)
    except CycloptsError:
        sys.exit(USAGE)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be flushed to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
