"""`rocelab bench`."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Sequence

from lab.bench.bench import bench
from lab.bench.document import document, machine
from lab.bench.errors import BenchError
from lab.bench.row import Row
from lab.bench.steps import GOALS, STEPS

USAGE = 2


def run(only: Sequence[str], seconds: float, form: str) -> int:
    """Measure the steps that `only` names (all, where it names none), about `seconds` each.

    `form` is "table", "json" or "markdown". The exit status is 2 where measuring is not possible;
    a goal that is missed is no failure.
    """
    from lab.bench import show  # noqa: PLC0415

    try:
        chosen = selected(only)
        before = machine()
        found = document(measured(chosen, seconds, progress), seconds, before)
    except BenchError as error:
        progress("")
        sys.stderr.write(f"rocelab: {error}\n")
        return USAGE
    finally:
        progress("")
    if form == "json":
        sys.stdout.write(json_module.dumps(found, indent=2) + "\n")
    elif form == "markdown":
        sys.stdout.write(show.markdown(found))
    else:
        show.terminal(found)
    return 0


def selected(only: Sequence[str]) -> list[str]:
    """Names of steps in the table's order; BenchError at one that is not there."""
    for name in only:
        if name not in STEPS:
            raise BenchError(f"expected one of {', '.join(STEPS)}, found {name!r}")
    return [name for name in STEPS if not only or name in only]


def measured(names: Sequence[str], seconds: float, tell: Callable[[str], None]) -> list[Row]:
    """The rows of the steps `names`; `tell` is told what is being done. Raises BenchError."""
    tell("compiling, starting the other process")
    rows: list[Row] = []
    with bench(seconds) as ends:
        for number, name in enumerate(names):
            tell(f"{number + 1} of {len(names)}: {name}")
            rows.extend(STEPS[name](ends))
    return rows


def progress(step: str) -> None:
    """Show what is being done, on a terminal only; "" clears the line."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{step}{'...' if step else ''}")
        sys.stderr.flush()


def listing() -> None:
    """Name what is measured, with its goals."""
    for name in STEPS:
        goals = "; ".join(f"{goal.figure} {goal}" for goal in GOALS.get(name, ()))
        sys.stdout.write(f"{name:<20}{goals}".rstrip() + "\n")
